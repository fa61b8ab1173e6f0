// SPDX-License-Identifier: ISC
//! Two smoltcp interfaces back to back in memory on one core: bulk TCP in one direction, MTU 1500, checksums on both
//! sides, as `inmem bulk` does it with ours. Buffer sizes are tried in turn and the best is printed, so that the peer
//! is seen at its best.
//!
//!     smoltcp-inmem MIB      -> smoltcp_gbit_per_s
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

const FRAMES_MAX: usize = 1024;
const FRAME_BYTES: usize = 1514;

/// One direction of the wire; frames that were read are used again.
#[derive(Default)]
struct Wire {
    frames: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

struct End {
    rx: Rc<RefCell<Wire>>,
    tx: Rc<RefCell<Wire>>,
}

struct Received(Vec<u8>, Rc<RefCell<Wire>>);
struct Sending(Rc<RefCell<Wire>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.0);
        self.1.borrow_mut().spare.push(self.0);
        result
    }
}

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = self
            .0
            .borrow_mut()
            .spare
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(FRAME_BYTES));
        frame.resize(len, 0);
        let result = f(&mut frame);
        self.0.borrow_mut().frames.push_back(frame);
        result
    }
}

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending)> {
        let frame = self.rx.borrow_mut().frames.pop_front()?;
        Some((Received(frame, self.rx.clone()), Sending(self.tx.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending> {
        (self.tx.borrow().frames.len() < FRAMES_MAX).then(|| Sending(self.tx.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = FRAME_BYTES;
        caps.checksum = ChecksumCapabilities::default();
        caps
    }
}

struct Host {
    end: End,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: smoltcp::iface::SocketHandle,
}

fn host(number: u8, end: End, buffer_bytes: usize) -> Host {
    let mut end = end;
    let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, number]).into());
    let mut iface = Interface::new(config, &mut end, Instant::ZERO);
    iface.update_ip_addrs(|addrs| {
        addrs
            .push(IpCidr::new(IpAddress::v4(10, 0, 0, number), 24))
            .unwrap()
    });
    let buffer = || tcp::SocketBuffer::new(vec![0; buffer_bytes]);
    let mut sockets = SocketSet::new(vec![]);
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    Host {
        end,
        iface,
        sockets,
        handle,
    }
}

impl Host {
    fn poll(&mut self, now: Instant) {
        self.iface.poll(now, &mut self.end, &mut self.sockets);
    }
    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket>(self.handle)
    }
}

/// Gbit/s of one transfer. Time of the stacks moves a microsecond a turn, as no timer should end it.
fn transfer(mib: usize, buffer_bytes: usize) -> f64 {
    let (there, back) = (
        Rc::new(RefCell::new(Wire::default())),
        Rc::new(RefCell::new(Wire::default())),
    );
    let mut client = host(
        1,
        End {
            rx: back.clone(),
            tx: there.clone(),
        },
        buffer_bytes,
    );
    let mut server = host(
        2,
        End {
            rx: there,
            tx: back,
        },
        buffer_bytes,
    );
    server.socket().listen(9).unwrap();
    let cx = client.iface.context();
    client
        .sockets
        .get_mut::<tcp::Socket>(client.handle)
        .connect(cx, (IpAddress::v4(10, 0, 0, 2), 9), 49152)
        .unwrap();
    let block = vec![0x5a; 65536];
    let wanted = mib << 20;
    let (mut queued, mut got, mut turn) = (0, 0, 0);
    let start = std::time::Instant::now();
    while got < wanted {
        turn += 1;
        let now = Instant::from_micros(turn);
        while queued < wanted && client.socket().can_send() {
            let len = block.len().min(wanted - queued);
            queued += client.socket().send_slice(&block[..len]).unwrap();
        }
        client.poll(now);
        server.poll(now);
        while server.socket().can_recv() {
            got += server
                .socket()
                .recv(|bytes| (bytes.len(), bytes.len()))
                .unwrap();
        }
        assert!(turn < 1_000_000_000, "no progress");
    }
    wanted as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9
}

fn main() {
    let mib: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    let mut best = (0.0, 0);
    for buffer_bytes in [16 << 10, 64 << 10, 256 << 10, 1 << 20] {
        transfer(16, buffer_bytes);
        let rate = transfer(mib, buffer_bytes);
        if rate > best.0 {
            best = (rate, buffer_bytes);
        }
    }
    println!("smoltcp_gbit_per_s {:.3} Gbit/s", best.0);
    println!("smoltcp_buffer {} bytes", best.1);
}
