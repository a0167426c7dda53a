//! Clients that send without end: others are served beside them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::untaken::{head, header};
use crate::wire::{Client, PATIENCE, frame, start};

/// The preface of HTTP/2, and an empty frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Connections of each flood.
const CONNECTIONS: usize = 12;
/// Requests of the client that behaves.
const REQUESTS: usize = 25;
/// Parts of a flood, after which it begins anew over another connection.
const PARTS: u32 = 40;
/// What floods may delay others by here, where nothing is optimised and all that sends shares the processors with what
/// serves: this finds clients that are not served at all. Beside how many turns of others a request waits is counted with
/// the turns themselves, on a clock that only they move.
const BESIDE_MAX: Duration = Duration::from_secs(1);

/// What is sent first, and what then without end: with its number, of which identifiers of streams are made.
type Flood = (&'static str, fn() -> Vec<u8>, fn(u32) -> Vec<u8>);

fn preface() -> Vec<u8> {
    PREFACE.to_vec()
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// A request that has one long header, to which others refer by a byte.
fn remembers() -> Vec<u8> {
    let mut request = head("GET", "/health");
    request.extend([0x40, 1, b'a', 126]);
    request.extend([b'b'; 126]);
    [PREFACE, &frame(1, 5, 1, &request)].concat()
}

const FLOODS: &[Flood] = &[
    ("pings", preface, |_| frame(6, 0, 0, b"are you?").repeat(1_000)),
    ("settings", preface, |_| frame(4, 0, 0, &[]).repeat(1_000)),
    ("windows", preface, |_| frame(8, 0, 0, &[0, 0, 0, 1]).repeat(1_000)),
    ("priorities", preface, |_| frame(2, 0, 3, &[0, 0, 0, 0, 1]).repeat(1_000)),
    ("unknown frames", preface, |_| frame(77, 0, 0, &[]).repeat(1_000)),
    ("requests", preface, |n| (0..100).flat_map(|k| request(n, k, &[])).collect()),
    ("requests that are reset", preface, |n| {
        (0..100).flat_map(|k| request(n, k, &frame(3, 0, stream(n, k), &[0, 0, 0, 8]))).collect()
    }),
    ("references", remembers, |n| {
        let head = [head("GET", "/health"), vec![0xBE; 16_000]].concat();
        frame(1, 5, stream(n, 1), &head)
    }),
    ("requests in a row", nothing, |_| {
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".repeat(1_000)
    }),
    (
        "chunks",
        || b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        |_| b"1\r\n \r\n".repeat(1_000),
    ),
];

/// The identifier of the stream of request `k` in part `n`.
fn stream(n: u32, k: u32) -> u32 {
    2 * (100 * n + k) + 3
}

fn request(n: u32, k: u32, behind: &[u8]) -> Vec<u8> {
    [&frame(1, 5, stream(n, k), &head("GET", "/health")), behind].concat()
}

/// This thread gets what others leave: a flood comes from other machines.
fn stand_back() {
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, 19).expect("it may be less important");
}

/// Sends a flood until it is over; whenever the server ends the connection, or all was sent, over a new one.
fn flood(parts: &[Vec<u8>], connect: &(dyn Fn() -> TcpStream + Sync), is_over: &AtomicBool) {
    stand_back();
    while !is_over.load(Relaxed) {
        let mut stream = connect();
        let mut responses = stream.try_clone().expect("a connection");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                stand_back();
                while matches!(responses.read(&mut [0; 65_536]), Ok(1..)) {}
            });
            for part in parts {
                if is_over.load(Relaxed) || stream.write_all(part).is_err() {
                    break;
                }
            }
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

/// How long the threads of servers in this process have computed.
#[cfg(target_os = "linux")]
fn served() -> Option<Duration> {
    let nanoseconds = std::fs::read_dir("/proc/self/task").ok()?.flatten().map(|task| {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
        let is_server = read("comm")?.starts_with("http-");
        read("schedstat")?.split(' ').next()?.parse::<u64>().ok().filter(|_| is_server)
    });
    Some(Duration::from_nanos(nanoseconds.flatten().sum()))
}

#[cfg(not(target_os = "linux"))]
fn served() -> Option<Duration> {
    None
}

/// How long so many requests of a client take that asks for little. What other programs do on the machine does not
/// count: a request waited no longer than the server's threads computed, wherever that can be told.
fn ask(good: &mut Client, requests: usize) -> Vec<Duration> {
    let request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
        X-Amz-Target: AWSStepFunctions.ListActivities\r\n\r\n{}";
    let mut took: Vec<Duration> = (0..requests)
        .map(|_| {
            let (began, before) = (Instant::now(), served());
            good.send(request);
            assert_eq!(good.response().map(|response| response.status), Some(200));
            let took = began.elapsed();
            // Fewer when the server of another test has ended.
            let served = before.zip(served()).and_then(|(before, after)| after.checked_sub(before));
            served.map_or(took, |served| took.min(served))
        })
        .collect();
    took.sort();
    took
}

/// Floods the threads that serve connections, and asks for something else meanwhile.
#[test]
fn whoever_floods_keeps_nobody_waiting() {
    for (name, first, more) in FLOODS {
        let (server, _service) = start(|_| {}, Default::default());
        let connect = || Client::of(&server).stream();
        let is_over = AtomicBool::new(false);
        let parts: Vec<Vec<u8>> = [first()].into_iter().chain((0..PARTS).map(more)).collect();
        let mut good = Client::of(&server);
        let alone = ask(&mut good, REQUESTS)[REQUESTS / 2];
        let beside = std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| flood(&parts, &connect, &is_over));
            }
            while server.counts().connections < CONNECTIONS as u64 {
                std::thread::yield_now();
            }
            let beside = ask(&mut good, REQUESTS);
            is_over.store(true, Relaxed);
            beside
        });
        let (median, last) = (beside[REQUESTS / 2], beside[REQUESTS - 1]);
        println!("{name}: {alone:?} alone, {median:?} beside it, at most {last:?}");
        assert!(median < 4 * alone + BESIDE_MAX, "{name}: {alone:?} alone, {beside:?}");
    }
}

/// A connection that costs a second of computing and asks for nothing is of no use to anybody.
#[test]
fn frames_that_ask_for_nothing_end_a_connection() {
    let (server, _service) = start(|_| {}, Default::default());
    let mut stream = Client::of(&server).stream();
    let mut responses = stream.try_clone().expect("a connection");
    let pings = frame(6, 0, 0, b"are you?").repeat(10_000);
    stream.write_all(PREFACE).expect("a connection");
    std::thread::scope(|scope| {
        scope.spawn(move || while matches!(responses.read(&mut [0; 65_536]), Ok(1..)) {});
        let began = Instant::now();
        while stream.write_all(&pings).is_ok() {
            assert!(began.elapsed() < PATIENCE, "it goes on");
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    // A client that asks for something once in a while may send as much.
    let began = Instant::now();
    let mut asking = Client::of(&server).stream();
    let mut responses = asking.try_clone().expect("a connection");
    std::thread::scope(|scope| {
        scope.spawn(move || while matches!(responses.read(&mut [0; 65_536]), Ok(1..)) {});
        asking.write_all(PREFACE).expect("a connection");
        let more = header("x-more", "1");
        let mut stream = 1;
        while began.elapsed() < Duration::from_secs(3) {
            let request = frame(1, 5, stream, &[head("GET", "/health"), more.clone()].concat());
            let sent = asking.write_all(&[request, frame(6, 0, 0, b"are you?").repeat(500)].concat());
            sent.expect("it is not cut");
            stream += 2;
        }
        let _ = asking.shutdown(Shutdown::Both);
    });
}
