//! The memory that the bodies of webhooks take together while their runs are put on disk: heavy ones wait for theirs.
use super::body;
use crate::api::HookRequest;
use crate::config::EngineConfig;
use crate::core::Ctx;
use crate::error::{EngineError, ErrorKind};
use crate::pace;
use crate::weight;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all of them may take, unless a single one may take more.
const ALL: u64 = 512 << 20;
/// Weights are counted in that; what is lighter is not counted, and waits for nobody.
const UNIT: u64 = 1 << 20;
/// For so long a body waits.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Room {
    units: Arc<Semaphore>,
    bytes: u64,
}

impl Room {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let bytes = ALL.max(weight::most(config.hook_body_bytes));
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), bytes }
    }

    /// Waits for what a body of this weight needs; in the order in which they came.
    async fn take(&self, weight: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(weight / UNIT).unwrap_or(u32::MAX);
        match units {
            0 => None,
            // It is never closed.
            _ => self.units.clone().acquire_many_owned(units).await.ok(),
        }
    }
}

/// Weighs a request's body, and waits until there is room for what it says.
pub(super) async fn of(
    ctx: &Ctx,
    request: &HookRequest,
) -> Result<Option<OwnedSemaphorePermit>, EngineError> {
    let weight = match request.body.len() > super::LARGE_BODY {
        true => pace::aside(|| body::weight(request))?,
        false => body::weight(request)?,
    };
    let room = &ctx.core.room;
    tokio::select! {
        biased;
        taken = room.take(weight) => Ok(taken),
        () = ctx.core.ports.clock.sleep(PATIENCE) => {
            let message = format!(
                "what the body says takes about {weight} bytes of memory, and the bodies of webhooks take what \
                 they may have together ({} bytes); send it again in a moment",
                room.bytes
            );
            Err(EngineError::new(ErrorKind::Unavailable, "too_busy", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn heavy_bodies_wait_for_their_room_and_light_ones_for_nobody() {
        let room = Room::new(&EngineConfig::default());
        let one = weight::most(EngineConfig::default().hook_body_bytes);
        let mut taken = Vec::new();
        while let Some(permit) = room.take(one).now_or_never() {
            taken.push(permit.unwrap());
        }
        assert_eq!(taken.len() as u64, ALL / one);
        assert!(room.take(UNIT - 1).now_or_never().is_some(), "what is light is read all the same");
        let next = room.take(one);
        taken.pop();
        assert!(next.now_or_never().is_some());
        // However much a single one may have, there is room for it.
        let large = EngineConfig { hook_body_bytes: 1 << 30, ..EngineConfig::default() };
        assert!(Room::new(&large).take(weight::most(1 << 30)).now_or_never().is_some());
    }
}
