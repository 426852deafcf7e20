//! A web server for as long as the demonstration or a test needs one: HTTP/1.1 with connections that are kept, a
//! thread for each, and nothing else. The small servers that one could depend on are larger than this, or no longer
//! kept up.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// No line of a request is longer; our own client sends far less.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// What to answer to a request.
#[cfg_attr(not(test), expect(dead_code, reason = "some answers are for tests"))]
pub(crate) enum Answer {
    /// The image.
    Found(Arc<[u8]>),
    /// 404.
    Missing,
    /// Nothing, for as long as the client holds out.
    Silence,
    /// The beginning of an image that is longer, and the end of the connection.
    CutShort(Arc<[u8]>),
}

/// Serves on a free port of this machine until it is dropped. No thread of it is left then.
pub(crate) struct Server {
    address: SocketAddr,
    connections: Connections,
    accepting: Option<JoinHandle<()>>,
}

/// The connections that are open; `None` once the server ends, and takes no more.
#[derive(Clone)]
struct Connections(Arc<Mutex<Option<Vec<TcpStream>>>>);

impl Server {
    /// Answers the path of each request as `answer` says, which may sleep to be as slow as a real server.
    pub(crate) fn start(
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let connections = Connections(Arc::new(Mutex::new(Some(Vec::new()))));
        let accepted = connections.clone();
        let accepting = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || accept_all(&listener, &accepted, &answer))?;
        Ok(Self { address, connections, accepting: Some(accepting) })
    }

    /// The URL of a path on this server, which starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections it has accepted.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().as_ref().map_or(0, Vec::len)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for connection in self.connections.lock().take().into_iter().flatten() {
            // It fails if the client was quicker.
            drop(connection.shutdown(Shutdown::Both));
        }
        // Wakes the thread that accepts connections, which finds that it is to take no more.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take()
            && accepting.join().is_err()
            && !thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the connection, to be closed when the server ends; false if it has.
    fn note(&self, connection: &TcpStream) -> bool {
        match &mut *self.lock() {
            Some(open) => {
                open.extend(connection.try_clone());
                true
            }
            None => false,
        }
    }
}

/// Returns when the server ends, and all threads of its connections have.
fn accept_all(
    listener: &TcpListener,
    connections: &Connections,
    answer: &(impl Fn(&str) -> Answer + Sync),
) {
    thread::scope(|scope| {
        for connection in listener.incoming() {
            // A client that is gone before it is accepted is no reason to end.
            let Ok(connection) = connection else { continue };
            if !connections.note(&connection) {
                return;
            }
            // However a connection breaks, it is the client that has to notice.
            scope.spawn(move || drop(serve(&connection, answer)));
        }
    });
}

/// Answers one request after the other until the client has no more.
fn serve(connection: &TcpStream, answer: &impl Fn(&str) -> Answer) -> io::Result<()> {
    // An answer is written at once, and must not wait for the acknowledgement of the one before.
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection);
    while let Some(path) = read_request(&mut requests)? {
        match answer(&path) {
            Answer::Found(image) => respond(connection, "200 OK", image.len(), &image)?,
            Answer::Missing => respond(connection, "404 Not Found", 0, &[])?,
            Answer::Silence => {
                // It ends when the client gives up or the server does.
                read_request(&mut requests)?;
            }
            Answer::CutShort(image) => {
                respond(connection, "200 OK", image.len() + 1, &image)?;
                return connection.shutdown(Shutdown::Both);
            }
        }
    }
    Ok(())
}

/// The path of the next request, `None` at the end of the connection. Nothing here reads a request's body.
fn read_request(requests: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut path = None;
    loop {
        let mut line = String::new();
        requests.take(LINE_BYTES_MAX).read_line(&mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            return Ok(path);
        }
        path = path.or_else(|| line.split(' ').nth(1).map(str::to_owned));
    }
}

fn respond(mut connection: &TcpStream, status: &str, length: usize, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(&[head.as_bytes(), body].concat())
}
