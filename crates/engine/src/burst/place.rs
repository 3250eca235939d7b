//! A burst of a run that counts together with others: it goes on only when it has its place.
use super::*;
use crate::concurrency::Entered;

impl Going<'_> {
    /// A new run takes the place that it asks for; false when others have to end before.
    pub(super) async fn takes_its_place(&mut self) -> Result<bool, Refused> {
        let base = self.base;
        let Some(wanted) = base.wanted.as_ref().filter(|_| !base.stored) else { return Ok(true) };
        let (workflow, others) = (&base.head.workflow, &mut self.others);
        match concurrency::enter(self.ctx, &mut self.txn, workflow, wanted, base.run, others).await? {
            Entered::As(place) if place.stand == runs::Stand::Held => self.head.place = Some(place),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// For a run that stands in line: only a cancel is worth a commit. One that has not begun ends then as it is.
    pub(super) async fn goes_without_its_place(&mut self) -> Result<bool, Refused> {
        let is_cancelled =
            self.head.inbox > 0 && concurrency::cancelled(self.ctx, &mut self.txn, self.base.run).await?;
        if !is_cancelled {
            self.stands = true;
            return Ok(false);
        }
        let starts = |event: &Event| match event {
            Event::Started(start) => Some(start.clone()),
            _ => None,
        };
        let Some(start) = self.base.incoming.iter().find_map(starts) else { return Ok(true) };
        self.page = Page::unbegun(start)?;
        self.finished =
            Some(Finished { status: machine::RunStatus::Cancelled, output: Payload::default(), error: None });
        Ok(false)
    }
}
