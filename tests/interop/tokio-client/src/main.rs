//! Fetches one page through a SOCKS5 proxy with tokio-socks; its body goes to standard output.
//!
//!     tokio-client PROXY_PORT USER PASSWORD HOST PORT PATH      (an empty USER: method none)

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_socks::tcp::Socks5Stream;

const TIMEOUT: Duration = Duration::from_secs(15);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let page = runtime.block_on(async { tokio::time::timeout(TIMEOUT, fetch(&args)).await })??;
    std::io::stdout().write_all(&page)?;
    Ok(())
}

async fn fetch(args: &[String]) -> Result<Vec<u8>, Box<dyn Error>> {
    let [proxy_port, user, password, host, port, path] = args else {
        return Err("six arguments: PROXY_PORT USER PASSWORD HOST PORT PATH".into());
    };
    let proxy = ("127.0.0.1", proxy_port.parse::<u16>()?);
    let target = (host.as_str(), port.parse::<u16>()?);
    let mut stream = if user.is_empty() {
        Socks5Stream::connect(proxy, target).await?
    } else {
        Socks5Stream::connect_with_password(proxy, target, user, password).await?
    };
    let name = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n").as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no end of the headers")?;
    if !raw.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("answered {}", String::from_utf8_lossy(&raw[..end])).into());
    }
    Ok(raw.split_off(end + 4))
}
