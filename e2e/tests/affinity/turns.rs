//! A load balancer that knows nothing: each connection goes to the next proxy.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One that runs. It ends when dropped, with everything that it carries.
pub(crate) struct Turns {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Turns {
    /// In front of these.
    pub(crate) async fn between(proxies: [SocketAddr; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let (mut carried, mut turn) = (JoinSet::new(), proxies.into_iter().cycle());
            while let (Ok((mut client, _)), Some(proxy)) = (listener.accept().await, turn.next()) {
                carried.spawn(async move {
                    let mut proxy = TcpStream::connect(proxy).await.unwrap();
                    // However a client leaves is the test's matter.
                    let _ = copy_bidirectional(&mut client, &mut proxy).await;
                });
                while carried.try_join_next().is_some() {}
            }
        });
        Self { address, _accepting: accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}
