//! A command that does what its input asks, with nothing but the standard library, so that it is
//! built for every WASI target from the same source.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("stdin can be read");
    let (what, argument) =
        input.trim().trim_matches('"').split_once(' ').unwrap_or((input.trim().trim_matches('"'), ""));
    let number = || argument.parse::<u64>().expect("a number");
    match what {
        "echo" => print!("{input}"),
        "clock" => {
            let (wall, began) = (SystemTime::now(), Instant::now());
            let later = began.elapsed();
            let millis = wall.duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
            print!("[{millis},{}]", later.as_nanos());
        }
        "sleep" => {
            let began = Instant::now();
            std::thread::sleep(Duration::from_millis(number()));
            print!("{}", began.elapsed().as_millis());
        }
        "random" => {
            let seeds: HashMap<u8, u64> = (0..3).map(|n| (n, RandomState::new().hash_one(n))).collect();
            let mut seeds: Vec<u64> = seeds.into_values().collect();
            seeds.sort_unstable();
            print!("{seeds:?}");
        }
        "flood" => {
            let line = [b'x'; 4_000];
            for _ in 0..number() {
                if std::io::stdout().write_all(&line).is_err() {
                    // A guest that takes no notice of a full pipe must not end well.
                    return;
                }
            }
        }
        "log" => {
            eprintln!("first line");
            eprint!("second, not ended");
            print!("null");
        }
        "denied" => {
            let file = std::fs::read("/etc/passwd").is_err();
            let written = std::fs::write("out.txt", "x").is_err();
            let listed = std::fs::read_dir(".").is_err();
            let socket = std::net::TcpStream::connect("127.0.0.1:80").is_err();
            let name = std::net::ToSocketAddrs::to_socket_addrs("example.com:80").is_err();
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").is_err();
            let (variables, arguments) = (std::env::vars().count(), std::env::args().count());
            print!("{:?}", [file, written, listed, socket, name, udp, variables == 0, arguments == 0]);
        }
        "fail" => {
            print!(
                "{}",
                r#"{"error":{"code":"no_lead","message":"there is none","retryable":true,"retry_after_ms":5}}"#
            );
            std::process::exit(3);
        }
        "exit" => {
            eprintln!("{}", "early ".repeat(1_000));
            eprintln!("cannot go on");
            std::process::exit(argument.parse().expect("a status"));
        }
        "panic" => panic!("nothing like that"),
        "hoard" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
            }
        }
        _ => print!("\"unknown\""),
    }
}
