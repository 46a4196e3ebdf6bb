//! What every request has in common: it can be asked on a channel, and it is known whether it
//! changes anything.

use chassis::channel::Channel;
use std::future::Future;

use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;
use proto::ensemble::chord::v1::registry_service_client::RegistryServiceClient;
use tonic::{Request, Response, Status};

/// The longest answer: all nodes that a registry may know.
const ANSWER_LIMIT: usize = 64 << 20;

/// A request.
pub(crate) trait Ask: Clone + Send + 'static {
    /// What it is answered with.
    type Answer: Send;
    /// Whether it changes nothing: then it may be asked again whatever happened.
    const READS: bool;

    /// Asks.
    fn ask(
        request: Request<Self>,
        channel: Channel,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

fn registry(channel: Channel) -> RegistryServiceClient<Channel> {
    RegistryServiceClient::new(channel).max_decoding_message_size(ANSWER_LIMIT)
}

fn node(channel: Channel) -> NodeServiceClient<Channel> {
    NodeServiceClient::new(channel)
}

/// One line a request: its service and method, its answer, and whether it reads.
macro_rules! asks {
    ($($request:ident: $service:ident.$method:ident -> $answer:ident, reads $reads:literal;)*) => {
        $(impl Ask for pb::$request {
            type Answer = pb::$answer;
            const READS: bool = $reads;

            async fn ask(
                request: Request<Self>,
                channel: Channel,
            ) -> Result<Response<pb::$answer>, Status> {
                $service(channel).$method(request).await
            }
        })*
    };
}

asks! {
    RegisterRequest: registry.register -> RegisterResponse, reads false;
    DeregisterRequest: registry.deregister -> DeregisterResponse, reads false;
    PopulateFingerTableRequest: registry.populate_finger_table -> PopulateFingerTableResponse,
        reads true;
    GetChordInfoRequest: registry.get_chord_info -> GetChordInfoResponse, reads true;
    GetFingerTableRequest: node.get_finger_table -> GetFingerTableResponse, reads true;
    SaveRequest: node.save -> SaveResponse, reads false;
    RemoveRequest: node.remove -> RemoveResponse, reads false;
    FindRequest: node.find -> FindResponse, reads true;
    LocateRequest: node.locate -> LocateResponse, reads true;
    QuitRequest: node.quit -> QuitResponse, reads false;
    GetStateRequest: node.get_state -> GetStateResponse, reads true;
}
