//! Writes binaries that no text can be: too large, cut short, or lying about what follows.

pub const CORE: &[u8] = b"\0asm\x01\0\0\0";
pub const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A number as the format writes it.
pub fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A section with this content.
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// A command of as many functions as there are `bodies` (operators without the final `end`), each
/// with as many locals of type i32. There is a memory; `_start` is not one of them.
pub fn functions(bodies: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let count = bodies.len() + 1;
    let types = section(1, &[1, 0x60, 0, 0]);
    let kinds = section(3, &[leb(count), vec![0; count]].concat());
    let memory = section(5, &[1, 0, 1]);
    let exports = section(7, b"\x01\x06_start\0\0");
    let mut code = leb(count);
    let start = (0, Vec::new());
    for (locals, body) in std::iter::once(&start).chain(bodies) {
        let locals = match locals {
            0 => vec![0],
            locals => [&[1][..], &leb(*locals), &[0x7f]].concat(),
        };
        code.extend(leb(locals.len() + body.len() + 1));
        code.extend(locals);
        code.extend(body);
        code.push(0x0b);
    }
    [CORE, &types, &kinds, &memory, &exports, &section(10, &code)].concat()
}

/// `text` with the number of each repetition in the place of `#`.
pub fn repeat(count: usize, text: &str) -> String {
    (0..count).map(|number| text.replace('#', &number.to_string())).collect()
}
