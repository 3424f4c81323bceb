//! The receiving end: opens the envelope, then hands the body on.

use std::sync::Arc;

use bytes::Bytes;

use super::envelope::{self, Address};
use super::{Handler, Message, Refusal, Rpc};

/// Where messages for this node arrive, over HTTP or in a simulation.
#[derive(Clone)]
pub struct Inbox {
    /// `None` until this node belongs to a cluster.
    me: Option<Address>,
    handler: Arc<dyn Handler>,
}

impl Inbox {
    /// An inbox for a node that answers to `me`.
    pub fn new(me: Option<Address>, handler: Arc<dyn Handler>) -> Self {
        Self { me, handler }
    }

    /// Answers a message, or says why not. Nothing changes when it is refused.
    pub async fn receive(&self, sealed: Message) -> Result<Bytes, Refusal> {
        if sealed.rpc == Rpc::Found {
            return self.handler.found(sealed.body).await;
        }
        let Some(me) = self.me else {
            let why = "this node belongs to no cluster yet";
            return Err(Refusal::new(super::RefusalReason::NotReady, why));
        };
        let (from, body) = envelope::open(me, &sealed.body)?;
        self.handler.handle(from, Message { body, ..sealed }).await
    }
}
