//! The real program, which strangers knock at: on a plain port and an encrypted one, with a neighbour who lives there
//! meanwhile. When they have gone it holds no descriptor more than before.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::common::Client;
use crate::common::authority::{Authority, NAME};
use crate::common::program::{Program, plaza};
use crate::neighbour::Neighbour;
use crate::raw::{Raw, wait_until};

pub(crate) struct House {
    program: Program,
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: SocketAddr,
    pub(crate) authority: Authority,
    neighbour: Option<Neighbour>,
    /// Descriptors while nobody but the neighbour is there.
    descriptors: usize,
    _folder: TempDir,
}

impl House {
    /// Starts it with these settings, and the neighbour.
    pub(crate) fn start(settings: &str) -> House {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        authority.issue(&[NAME]).write(folder.path());
        let own = "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n\
            redirect_http = false\n";
        // The neighbour is busier than people are.
        let rate = if settings.contains("[rate]") { "" } else { "[rate]\nenabled = false\n" };
        let all = format!("{settings}\n{rate}{own}");
        std::fs::write(folder.path().join("relay.toml"), all).expect("a file");
        let program = Program::start(plaza(folder.path(), &["--listen", "127.0.0.1:0"]));
        let listens = |at: &str| program.says(at).parse().expect("an address");
        let address = listens("plaza: listening on ws://");
        let tls_address = listens("plaza: listening on wss://");
        let mut house = House {
            program,
            address,
            tls_address,
            authority,
            neighbour: None,
            descriptors: 0,
            _folder: folder,
        };
        let neighbour = Client::connect(&format!("ws://{address}"));
        house.descriptors = house.open_descriptors();
        house.neighbour = Some(Neighbour::of(neighbour));
        house
    }

    /// Descriptors that the program holds at this moment.
    pub(crate) fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.program.id())).expect("it runs").count()
    }

    /// A connection that has said nothing.
    pub(crate) fn knock(&self) -> Raw {
        Raw::to(self.address)
    }

    /// The same to one of its ports, from another address of this machine.
    pub(crate) fn knock_from(&self, source: &str, port: SocketAddr) -> Raw {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket
                .bind(format!("{source}:0").parse().expect("an address"))
                .expect("an address of this machine");
            socket.connect(port).await.expect("the relay accepts").into_std().expect("a socket")
        });
        stream.set_nonblocking(false).expect("an option");
        Raw::over(stream)
    }

    /// A WebSocket connection.
    pub(crate) fn open(&self) -> Raw {
        Raw::open_at(self.address)
    }

    /// Asserts that the neighbour noticed nothing, that others are served, and that nothing is left of the
    /// strangers, who have gone.
    pub(crate) fn stands(mut self) {
        self.neighbour.take().expect("once").noticed_nothing();
        self.open().works();
        // The neighbour has gone too.
        wait_until("descriptors are given back", || self.open_descriptors() < self.descriptors);
        self.program.stop();
    }
}
