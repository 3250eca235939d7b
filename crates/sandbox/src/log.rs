//! The contract's `stepwell:action/log`.

use wasmtime::component::Linker;
use wasmtime::{Result, StoreContextMut};

use crate::state::CallState;
use crate::{failure, names};

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> Result<()> {
    let mut log = linker.instance("stepwell:action/log@1.0.0")?;
    log.func_wrap(
        "log",
        |mut store: StoreContextMut<'_, CallState>, (level, message, fields): (u8, String, String)| {
            let mut world = store.data_mut().host_call(message.len() + fields.len());
            let at = world.clock.now_ms();
            world.logs.line(level.into(), &message, &fields, at);
            Ok(())
        },
    )?;
    log.func_wrap(
        "panic",
        |mut store: StoreContextMut<'_, CallState>, (message, location): (String, String)| {
            let mut world = store.data_mut().host_call(message.len() + location.len());
            world.panic = Some((failure::message(message), names::said(location)));
            Ok(())
        },
    )?;
    Ok(())
}
