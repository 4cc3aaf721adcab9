//! Keeping the token alive.

use super::{ApiError, Client};
use crate::session::{Secret, Tokens};
use crate::uaa;

/// A token that ends within this many seconds might not survive the request.
const TOO_SHORT_SECONDS: i64 = 30;

// === impl Client ===

impl Client {
    /// The token, renewed first if it is about to end.
    pub(crate) async fn live_token(&self) -> Result<Secret, ApiError> {
        let tokens = self.tokens()?;
        if !tokens.ends_within(TOO_SHORT_SECONDS) || !can_renew(&tokens) {
            return Ok(tokens.access);
        }
        self.renew(&tokens.access).await
    }

    /// A token other than `ended`. Another process may have renewed it meanwhile: then that one
    /// is used, for a refresh token may work only once.
    pub(crate) async fn renew(&self, ended: &Secret) -> Result<Secret, ApiError> {
        let store = self.store.clone();
        let locked = tokio::task::spawn_blocking(move || {
            let lock = store.lock_renewal()?;
            Ok((lock, store.load()?))
        })
        .await
        .map_err(|error| ApiError::Setup {
            cause: error.to_string(),
        })?;
        let (_lock, saved) = locked.map_err(ApiError::Session)?;
        let tokens = saved.tokens.ok_or(ApiError::NotLoggedIn)?;
        if tokens.access != *ended {
            let access = tokens.access.clone();
            self.lock_session().tokens = Some(tokens);
            return Ok(access);
        }
        let renewed = uaa::renew(self, &tokens).await?;
        let access = renewed.access.clone();
        self.remember(|session| session.tokens = Some(renewed))?;
        Ok(access)
    }
}

fn can_renew(tokens: &Tokens) -> bool {
    tokens.refresh.is_some() || tokens.client.is_some()
}
