//! Relays of a few lines, for what no true one does.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// A connection to a fake relay, as it sees it.
pub type Socket = WebSocket<TcpStream>;

/// A relay that does with each connection what it was told.
pub struct Fake {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Fake {
    /// Starts one.
    pub fn start(serve: impl Fn(&mut Socket) + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (is_over, serve) = (Arc::new(AtomicBool::new(false)), Arc::new(serve));
        let ended = Arc::clone(&is_over);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    if let Ok(mut socket) = tungstenite::accept(stream) {
                        serve(&mut socket);
                    }
                });
            }
        });
        Fake { address, is_over }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// The next message of a client that is JSON; `None` when it has gone.
pub fn hear(socket: &mut Socket) -> Option<Value> {
    loop {
        if let Message::Text(text) = socket.read().ok()? {
            return serde_json::from_str(&text).ok();
        }
    }
}

/// Says something; false when nobody is there.
pub fn say(socket: &mut Socket, message: &Value) -> bool {
    socket.send(Message::text(message.to_string())).is_ok()
}
