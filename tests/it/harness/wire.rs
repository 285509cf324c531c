//! A wire to the test broker that can be cut and mended: connections through it break, new ones
//! are refused, as when the broker is killed.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Wire {
    /// The broker's address by way of this wire.
    pub url: String,
    whole: watch::Sender<bool>,
}

impl Wire {
    pub async fn to_broker() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = url::Url::parse(&std::env::var("TEST_AMQP_URL").unwrap()).unwrap();
        let broker = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
        let port = listener.local_addr().unwrap().port();
        url.set_port(Some(port)).unwrap();
        let whole = watch::Sender::new(true);
        let state = whole.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *state.borrow() {
                    tokio::spawn(carry(near, broker.clone(), state.subscribe()));
                }
            }
        });
        Self { url: url.into(), whole }
    }

    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, broker: String, mut whole: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(broker).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}
