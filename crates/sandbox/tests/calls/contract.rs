//! The contract: input, output, failures, log, panic.

use crate::support::{ECHO, action, host};
use stepwell_sandbox::Call;

#[tokio::test]
async fn an_action_of_contract_1_0_gets_its_input_and_gives_its_output() {
    let echo = action(ECHO).await;
    let outcome = host().call(&echo, Call::new(r#"{"a":[1,"ä"]}"#)).await;
    assert_eq!(outcome.result.as_deref(), Ok(r#"{"a":[1,"ä"]}"#));
    eprintln!("{:?} {:?}", outcome.usage, echo.info());
}
