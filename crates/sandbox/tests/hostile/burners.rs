use super::runner::Test;
pub fn tests(_: &mut Vec<Test>) {}
