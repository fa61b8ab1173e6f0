// SPDX-License-Identifier: ISC

// Two stacks of gVisor's netstack back to back in memory: bulk TCP in one direction, MTU 1500, checksums on both sides,
// as `inmem bulk` does it with ours. The Go scheduler is held to one core by GOMAXPROCS, the caller pins the process.
//
//	netstack-inmem MIB      -> netstack_gbit_per_s
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strconv"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const mtu = 1500

func host(last byte, link stack.LinkEndpoint) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		log.Fatal(err)
	}
	if err := s.CreateNIC(1, link); err != nil {
		log.Fatal(err)
	}
	address := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4([4]byte{10, 0, 0, last}).WithPrefix(),
	}
	if err := s.AddProtocolAddress(1, address, stack.AddressProperties{}); err != nil {
		log.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	return s
}

func main() {
	mib := 500
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n <= 0 {
			log.Fatalf("netstack-inmem: %q is not a number of MiB", os.Args[1])
		}
		mib = n
	}
	runtime.GOMAXPROCS(1)
	a, b := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", mtu)
	client, server := host(1, a), host(2, b)
	local := tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4([4]byte{10, 0, 0, 2}), Port: 9}
	listener, err := gonet.ListenTCP(server, local, ipv4.ProtocolNumber)
	if err != nil {
		log.Fatal(err)
	}
	wanted := int64(mib) << 20
	go func() {
		conn, err := gonet.DialTCP(client, local, ipv4.ProtocolNumber)
		if err != nil {
			log.Fatal(err)
		}
		block := make([]byte, 65536)
		for left := wanted; left > 0; left -= int64(len(block)) {
			if _, err := conn.Write(block); err != nil {
				log.Fatal(err)
			}
		}
		conn.Close()
	}()
	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	got, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{conn}, make([]byte, 1<<18))
	if err != nil || got != wanted {
		log.Fatalf("netstack-inmem: %d of %d bytes: %v", got, wanted, err)
	}
	fmt.Printf("netstack_gbit_per_s %.3f Gbit/s\n", float64(got)*8/time.Since(start).Seconds()/1e9)
}
