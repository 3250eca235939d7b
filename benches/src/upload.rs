//! From the first byte of an upload to the answer of the module's first call, always with a module not seen before.

use std::time::Instant;

use crate::bare::Bare;
use crate::client::Client;
use crate::nodes::Node;
use crate::{Bench, forms, guest, setup};

const NAME: &str = "upload";

pub async fn run(bench: Bench<'_>) -> anyhow::Result<()> {
    let product = Node::product(&bench.dir.join("product")).await?;
    let mut client = Client::connect(product.address).await?;
    let bare = Bare::new()?;
    let input = forms::next();
    let (mut ours, mut upload, mut base) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..bench.effort.pick(15, 3) {
        let name = format!("upload-{number}");
        let module = bench.guest.named(&name)?;
        let started = Instant::now();
        let ready = bare.load(&guest::encode(&module)?)?;
        ready.call(std::str::from_utf8(&input)?).await?;
        base.push(started.elapsed().as_secs_f64() * 1e3);

        let started = Instant::now();
        setup::put_action(&mut client, &name, &module).await?;
        upload.push(started.elapsed().as_secs_f64() * 1e3);
        let answer = client.post(&format!("/api/v1/actions/{name}/test"), &input).await?.ok()?.json()?;
        ours.push(started.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(answer.get("output").is_some(), "the first call failed: {answer}");
    }
    let what = "upload (HTTP, scan, child process, cache, durable) to the first answer";
    bench.report.compare(NAME, what, "ms", (&ours, &base), None);
    bench.report.alone(NAME, "of that, the upload itself", "ms", &upload);
    product.stop().await
}
