//! Prices an order. Replace the types and the function by your own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stepwell_action::{Failure, action};

#[derive(Deserialize, JsonSchema)]
pub struct Order {
    pub customer: String,
    pub quantity: i64,
    /// Exact money is counted in millionths.
    pub unit_price_micros: i64,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Price {
    pub customer: String,
    pub total_micros: i64,
}

#[action]
pub fn price(order: Order) -> Result<Price, Failure> {
    if order.quantity < 0 {
        return Err(Failure::new("negative_quantity", format!("{} cannot be ordered", order.quantity)));
    }
    log::info!(quantity = order.quantity; "pricing an order");
    let total_micros = order
        .quantity
        .checked_mul(order.unit_price_micros)
        .ok_or_else(|| Failure::new("too_large", "the total does not fit 64 bits"))?;
    Ok(Price { customer: order.customer, total_micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantity_times_price() {
        let order = Order { customer: "Ada".into(), quantity: 3, unit_price_micros: 1_500_000 };
        assert_eq!(price(order).unwrap().total_micros, 4_500_000);
    }
}
