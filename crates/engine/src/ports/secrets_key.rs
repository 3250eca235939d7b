//! Where the key comes from that secrets are encrypted with. It lies outside of the store.
use async_trait::async_trait;
use zeroize::Zeroizing;

/// Whoever keeps the key. What goes wrong is told in words, without the key.
#[async_trait]
pub trait SecretsKey: Send + Sync + 'static {
    /// The key, or `None` when there is none yet; with `make` one is made then, where that is possible.
    async fn key(&self, make: bool) -> Result<Option<Zeroizing<[u8; 32]>>, String>;
}

/// A key that is known.
#[async_trait]
impl SecretsKey for [u8; 32] {
    async fn key(&self, _make: bool) -> Result<Option<Zeroizing<[u8; 32]>>, String> {
        Ok(Some(Zeroizing::new(*self)))
    }
}
