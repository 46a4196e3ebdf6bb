//! How a registry and nodes without a protocol answer.

use std::sync::{Arc, Mutex};

use chassis::time_left;
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_server::NodeService;
use proto::ensemble::chord::v1::registry_service_server::RegistryService;
use tonic::{Request, Response, Status, Streaming};

use super::Who;
use super::world::{Call, World};
use crate::server::Connections;

/// What one process serves.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) who: Who,
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) connections: Connections,
}

type Answer<A> = Result<Response<A>, Status>;

impl Service {
    /// Notes a call, has it go wrong if it is to, and carries it out.
    async fn carry_out<Q, A>(
        &self,
        method: &'static str,
        request: Request<Q>,
        work: impl FnOnce(&mut World, Q) -> Result<A, Status>,
    ) -> Answer<A> {
        let budget = time_left(request.metadata());
        let request = request.into_inner();
        let world = || self.world.lock().expect("nobody panics while holding the world");
        let fault = {
            let mut world = world();
            world.calls.push(Call { who: self.who, method, budget });
            let place = world.faults.iter().position(|(of, _)| *of == method);
            place.map(|place| world.faults.remove(place).1)
        };
        self.connections.carry_out(fault, || work(&mut world(), request)).await
    }

    fn id(&self) -> u64 {
        self.who.expect("a node")
    }
}

#[tonic::async_trait]
impl RegistryService for Service {
    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Answer<pb::RegisterResponse> {
        self.carry_out("register", request, |world, it| world.register(&it)).await
    }

    async fn deregister(
        &self,
        request: Request<pb::DeregisterRequest>,
    ) -> Answer<pb::DeregisterResponse> {
        let work = |world: &mut World, it: pb::DeregisterRequest| {
            let place = world.registered.iter().position(|peer| peer.id == it.id);
            let none = || Status::not_found(format!("there is no node {}", it.id));
            world.registered.remove(place.ok_or_else(none)?);
            Ok(pb::DeregisterResponse {})
        };
        self.carry_out("deregister", request, work).await
    }

    async fn populate_finger_table(
        &self,
        request: Request<pb::PopulateFingerTableRequest>,
    ) -> Answer<pb::PopulateFingerTableResponse> {
        let work = |world: &mut World, it: pb::PopulateFingerTableRequest| {
            let none = || Status::not_found(format!("there is no node {}", it.id));
            let state = world.states.get(&it.id).ok_or_else(none)?;
            let fingers = distinct(&state.fingers);
            Ok(pb::PopulateFingerTableResponse { predecessor: state.predecessor.clone(), fingers })
        };
        self.carry_out("populate_finger_table", request, work).await
    }

    async fn get_chord_info(
        &self,
        request: Request<pb::GetChordInfoRequest>,
    ) -> Answer<pb::GetChordInfoResponse> {
        let work = |world: &mut World, _| {
            Ok(pb::GetChordInfoResponse { nodes: world.registered.clone(), bits: world.bits })
        };
        self.carry_out("get_chord_info", request, work).await
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn get_finger_table(
        &self,
        request: Request<pb::GetFingerTableRequest>,
    ) -> Answer<pb::GetFingerTableResponse> {
        let id = self.id();
        let work = |world: &mut World, _| {
            let fingers = distinct(&world.states[&id].fingers);
            Ok(pb::GetFingerTableResponse { node: Some(world.peer(id)), fingers })
        };
        self.carry_out("get_finger_table", request, work).await
    }

    async fn save(&self, request: Request<pb::SaveRequest>) -> Answer<pb::SaveResponse> {
        let from = self.id();
        let work = |world: &mut World, it: pb::SaveRequest| {
            check(&it.key)?;
            let id = world.place(&it.key);
            let key = it.key.to_vec();
            let saved = !world.items.contains_key(&key);
            if saved {
                world.items.insert(key, it.value.to_vec());
            }
            Ok(pb::SaveResponse { saved, path: Some(world.path(from, id)), id })
        };
        self.carry_out("save", request, work).await
    }

    async fn remove(&self, request: Request<pb::RemoveRequest>) -> Answer<pb::RemoveResponse> {
        let from = self.id();
        let work = |world: &mut World, it: pb::RemoveRequest| {
            check(&it.key)?;
            let id = world.place(&it.key);
            let removed = world.items.remove(&it.key[..]).is_some();
            Ok(pb::RemoveResponse { removed, path: Some(world.path(from, id)), id })
        };
        self.carry_out("remove", request, work).await
    }

    async fn find(&self, request: Request<pb::FindRequest>) -> Answer<pb::FindResponse> {
        let from = self.id();
        let work = |world: &mut World, it: pb::FindRequest| {
            check(&it.key)?;
            let id = world.place(&it.key);
            let value = world.items.get(&it.key[..]).map(|value| value.clone().into());
            Ok(pb::FindResponse { value, path: Some(world.path(from, id)), id })
        };
        self.carry_out("find", request, work).await
    }

    async fn locate(&self, request: Request<pb::LocateRequest>) -> Answer<pb::LocateResponse> {
        let from = self.id();
        let work = |world: &mut World, it: pb::LocateRequest| {
            let id = match it.place {
                Some(pb::locate_request::Place::Id(id)) if id >> world.bits == 0 => id,
                Some(pb::locate_request::Place::Key(key)) => world.place(&key),
                _ => return Err(Status::invalid_argument("id: there is no such place")),
            };
            Ok(pb::LocateResponse { id, path: Some(world.path(from, id)) })
        };
        self.carry_out("locate", request, work).await
    }

    async fn quit(&self, request: Request<pb::QuitRequest>) -> Answer<pb::QuitResponse> {
        let id = self.id();
        let work = |world: &mut World, _| {
            let successor = world.states[&id].successors.first().cloned();
            world.states.remove(&id);
            world.registered.retain(|peer| peer.id != id);
            world.settle();
            Ok(pb::QuitResponse { successor })
        };
        self.carry_out("quit", request, work).await
    }

    async fn get_state(
        &self,
        request: Request<pb::GetStateRequest>,
    ) -> Answer<pb::GetStateResponse> {
        let id = self.id();
        let work = |world: &mut World, _| {
            let state = world.states.get(&id).cloned();
            state.ok_or_else(|| Status::unavailable("it has left"))
        };
        self.carry_out("get_state", request, work).await
    }

    async fn link(&self, _: Request<Streaming<pb::LinkRequest>>) -> Answer<pb::LinkResponse> {
        Err(Status::unimplemented("no node speaks to this one"))
    }
}

/// The nodes of some fingers, each once, in their order.
fn distinct(fingers: &[pb::Finger]) -> Vec<pb::Peer> {
    let mut peers: Vec<pb::Peer> = Vec::new();
    for peer in fingers.iter().filter_map(|finger| finger.peer.clone()) {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    peers
}

fn check(key: &[u8]) -> Result<(), Status> {
    match key.len() {
        1..=4096 => Ok(()),
        _ => Err(Status::invalid_argument("key: 1 to 4,096 bytes")),
    }
}
