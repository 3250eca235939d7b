//! The main job: a posted form becomes person, company, task and mail. Answers and finished runs against the floor.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::client::Client;
use crate::load::{Round, round};
use crate::nodes::Node;
use crate::report::{Aim, Report};
use crate::rows::Rows;
use crate::{Bench, forms, setup};

const NAME: &str = "flow";
/// Runs may lag behind the answers by so much before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to post the form to the product.
struct Variant {
    path: &'static str,
    what: &'static str,
    /// Whether mail goes out, to a mail system that takes it at once, or is caught in the mailbox.
    sent: bool,
    aim: Option<Aim>,
}

const VARIANTS: [Variant; 4] = [
    Variant { path: "form-accepted", what: "web form", sent: false, aim: Some(Aim::AtLeast(0.5)) },
    Variant { path: "form-result", what: "web form, `respond: result`", sent: false, aim: None },
    Variant { path: "form-quiet", what: "the same without its e-mail step", sent: false, aim: None },
    Variant { path: "form-accepted", what: "web form, e-mail really sent", sent: true, aim: None },
];

/// A product with what it takes to measure it.
struct Product {
    node: Node,
    control: Client,
}

impl Product {
    async fn new(node: Node, module: &[u8]) -> anyhow::Result<Self> {
        let mut control = Client::connect(node.address).await?;
        install(&mut control, module).await?;
        Ok(Self { node, control })
    }
}

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let module = &bench.guest.module;
    let mut products = [
        Product::new(Node::product(&bench.dir.join("product")).await?, module).await?,
        Product::new(Node::product_with_mail(&bench.dir.join("mailing")).await?, module).await?,
    ];
    let floor = Node::floor(&bench.dir.join("floor"), bench.guest).await?;
    let rows = Rows::of_a_form().await?;
    let file = bench.dir.join("rows.json");
    std::fs::write(&file, serde_json::to_vec(&rows)?)?;
    let same_rows = Node::floor_with(&bench.dir.join("floor-rows"), bench.guest, &file).await?;

    let (rounds, time) = bench.effort.pick((5, Duration::from_secs(1)), (2, Duration::from_millis(200)));
    for clients in [1, 16] {
        let mut floor_clients = Client::connect_all(floor.address, clients).await?;
        let mut same_clients = Client::connect_all(same_rows.address, clients).await?;
        let mut against = Vec::new();
        let mut against_same = Vec::new();
        let mut measured: [Vec<Round>; VARIANTS.len()] = Default::default();
        // The first round of each side fills caches and does not count.
        for number in 0..=rounds {
            let base =
                round(&floor, &mut floor_clients, "/form", forms::next, time, async { Ok(()) }).await?;
            let same =
                round(&same_rows, &mut same_clients, "/form", forms::next, time, async { Ok(()) }).await?;
            for (variant, measured) in VARIANTS.iter().zip(&mut measured) {
                let Product { node, control } = &mut products[usize::from(variant.sent)];
                let mut clients = Client::connect_all(node.address, clients).await?;
                let done = product_round(node, &mut clients, control, variant.path, time).await?;
                if number > 0 {
                    measured.push(done);
                }
            }
            if number > 0 {
                against.push(base);
                against_same.push(same);
            }
        }
        let plural = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
        let [first, ..] = &measured;
        let (count, bytes) = rows.size();
        let what = |kind: &str| {
            format!("web form, {plural}: {kind} (floor: the same {count} rows, {bytes} bytes, and no more)")
        };
        let of = |rounds: &[Round], of: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(of).collect() };
        let rates = (of(first, Round::per_second), of(&against_same, Round::per_second));
        bench.report.compare(NAME, what("runs to their end"), "/s", (&rates.0, &rates.1), None);
        let times = (of(first, Round::processor_us), of(&against_same, Round::processor_us));
        bench.report.compare(NAME, what("processor time a run"), "µs", (&times.0, &times.1), None);
        for (variant, measured) in VARIANTS.iter().zip(&measured) {
            let pairs = |which: fn(&Round) -> f64| (of(measured, which), of(&against, which));
            let what = |kind: &str| format!("{}, {plural}: {kind}", variant.what);
            let (ours, base) = pairs(Round::per_second);
            bench.report.compare(NAME, what("runs to their end"), "/s", (&ours, &base), variant.aim);
            let (ours, base) = pairs(Round::processor_us);
            bench.report.compare(NAME, what("processor time a run"), "µs", (&ours, &base), None);
            let (ours, base) = pairs(|round| round.p50_ms);
            bench.report.compare(NAME, what("p50 of the answer"), "ms", (&ours, &base), None);
            let (ours, base) = pairs(|round| round.p99_ms);
            bench.report.compare(NAME, what("p99 of the answer"), "ms", (&ours, &base), None);
        }
    }
    floor.stop().await?;
    same_rows.stop().await?;
    for (Product { node, mut control }, mail) in products.into_iter().zip(["caught", "sent"]) {
        per_run(bench.report, &mut control, mail).await?;
        drop(control);
        node.stop().await?;
    }
    Ok(())
}

/// The action and every way to post the form.
pub async fn install(client: &mut Client, module: &[u8]) -> anyhow::Result<()> {
    setup::put_action(client, "normalize-lead", module).await?;
    let result = [("respond: accepted", "respond: result")];
    let workflows = [
        ("form-accepted", setup::web_form("form-accepted", &[])?),
        ("form-result", setup::web_form("form-result", &result)?),
        ("form-quiet", setup::without_mail(&setup::web_form("form-quiet", &result)?)?),
    ];
    for (name, text) in workflows {
        setup::put_workflow(client, name, &text).await?;
    }
    Ok(())
}

/// A round of the product: over when every run that it started is over.
pub async fn product_round(
    node: &Node,
    clients: &mut [Client],
    control: &mut Client,
    path: &str,
    time: Duration,
) -> anyhow::Result<Round> {
    let path = format!("/hooks/default/{path}");
    let failed_before = setup::counter(control, "runs_failed").await?;
    let drained = async {
        let given_up = Instant::now() + PATIENCE;
        // By now every answered request has started its run.
        let started = setup::counter(control, "runs_started").await?;
        while setup::counter(control, "runs_completed").await? + failed_before < started {
            let failed = setup::counter(control, "runs_failed").await?;
            ensure!(failed == failed_before, "{} runs failed", failed - failed_before);
            ensure!(Instant::now() < given_up, "runs do not come to their end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    };
    round(node, clients, &path, forms::next, time, drained).await.context(path.clone())
}

/// What one run writes: counted, not timed.
async fn per_run(report: &mut Report, control: &mut Client, mail: &str) -> anyhow::Result<()> {
    let runs = setup::counter(control, "runs_completed").await?;
    for name in ["keys_written", "commits", "bursts", "burst_conflicts"] {
        let count = setup::counter(control, name).await?;
        let what = format!("{} per run, all of these with e-mail {mail}", name.replace('_', " "));
        report.alone(NAME, what, "", &[count as f64 / runs as f64]);
    }
    Ok(())
}
