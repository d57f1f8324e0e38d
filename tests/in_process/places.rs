//! Places in limits, which a panic gives back as any end of a session does.

use outflow::config::Flags;

use super::*;

/// Two workers, over which so many sessions may be at a time.
fn limited(connections: usize) -> Server {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\npin = false\n[guard]\nallow_private = true\n\
         [dns]\ndns64 = \"off\"\n[[limit]]\nname = \"few\"\nper = \"global\"\nconnections = {connections}\n\
         [[rule]]\nname = \"all\"\naction = \"allow\"\nlimits = [\"few\"]\n"
    );
    start(Config::parse(&text, Path::new("outflow.toml"), &Flags::default()).expect("a configuration"))
}

/// A session, unless it is one too many.
fn try_connect(server: &Server, target: SocketAddr) -> Option<TcpStream> {
    let SocketAddr::V4(target) = target else { panic!("{target} is not IPv4") };
    let mut stream = dial(server);
    let request = [b"\x05\x01\x00\x05\x01\x00\x01", &target.ip().octets()[..], &target.port().to_be_bytes()];
    stream.write_all(&request.concat()).expect("a request");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    match answer[3] {
        0 => Some(stream),
        2 => None,
        reply => panic!("reply {reply}"),
    }
}

#[test]
fn a_panic_gives_back_the_places_of_its_sessions_and_no_others() {
    let server = limited(SESSIONS);
    let target = echo();
    let fill = || std::iter::from_fn(|| try_connect(&server, target)).collect::<Vec<_>>();
    let mut clients = fill();
    assert_eq!(clients.len(), SESSIONS);
    for drill in [(0, Drill::Panic), (1, Drill::Panic), (0, Drill::PanicTwice)] {
        server.drill(drill.0, drill.1);
        let before = clients.len();
        await_that("its sessions are gone", || {
            clients.retain_mut(echoes);
            clients.len() < before
        });
        await_that("those are counted that are left", || server.totals().active() == clients.len() as u64);
        clients.extend(fill());
        assert_eq!(clients.len(), SESSIONS, "as many as there may be, and none twice");
        assert!(clients.iter_mut().all(echoes));
    }
    stop(server);
}
