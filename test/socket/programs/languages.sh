# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# Run times: Python's http.server and asyncio, Node.js, a static Go program (server and client), Java's HttpServer.
serves() { # serves NAME PORT
    wait_until 20 peer_can_reach "$2"
    is "$(peer curl -sf -m 20 "http://$SELF4:$2/large" | sha256sum)" "$LARGE_SUM" "$VIA: $1: a megabyte" || tail -n 5 "$WORK/$1.out"
    is "$(peer curl -g -sf -m 20 "http://[$SELF6]:$2/small" | sha256sum)" "$SMALL_SUM" "$VIA: $1: over IPv6"
    ab_ok peer "$SELF4" "$2" 200 4 "" "$VIA: $1: ab"
    sut_stop "$1"
}
PY=/usr/bin/python3
if [ -x $PY ]; then
    sut_start http.server $PY -m http.server --bind :: --directory "$WORK/www" 8201
    serves http.server 8201
    cat >"$WORK/aio.py" <<'EOT'
import asyncio, hashlib, sys

async def serve(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main(self4, peer4):
    server = await asyncio.start_server(serve, "0.0.0.0", 8202)
    async def one(n):
        reader, writer = await asyncio.open_connection(self4, 8202)
        data = bytes([n]) * 50000
        writer.write(data)
        await writer.drain()
        same = await reader.readexactly(50000) == data
        writer.close()
        return same
    print(sum(await asyncio.gather(*(one(n) for n in range(20)))), flush=True)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport): self.transport = transport
        def datagram_received(self, data, addr): self.transport.sendto(data, addr)
    class Ask(Echo):
        def datagram_received(self, data, addr): done.done() or done.set_result(data)
    await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", 8203))
    ask, _ = await loop.create_datagram_endpoint(Ask, remote_addr=(self4, 8203))
    ask.sendto(b"over udp")
    print((await asyncio.wait_for(done, 5)).decode(), flush=True)
    try:
        await asyncio.open_connection(peer4, 8209)
    except ConnectionRefusedError:
        print("refused")
asyncio.run(main(*sys.argv[1:]))
EOT
    is "$(sut timeout 30 $PY "$WORK/aio.py" $SELF4 $PEER4 2>&1 | xargs)" '20 over udp refused' "$VIA: asyncio: streams, datagrams, a refusal"
fi
if has node; then
    cat >"$WORK/server.js" <<'EOT'
const http = require('http'), fs = require('fs'), path = require('path');
http.createServer((ask, answer) => fs.createReadStream(path.join(process.argv[2], path.basename(ask.url)))
    .on('error', () => answer.writeHead(404).end()).pipe(answer)).listen(8204, '::');
EOT
    sut_start node node "$WORK/server.js" "$WORK/www"
    serves node 8204
fi
if has go; then
    # The compiler's own packages are compiled once for a build folder, which takes a minute.
    goweb=$PWD/$B/goweb
    [[ $B == /* ]] && goweb=$B/goweb
    GOCACHE=${goweb%/*}/go-cache GO111MODULE=off CGO_ENABLED=0 go build -o "$goweb" test/socket/programs/web.go >"$WORK/go.log" 2>&1
    ok $? "$VIA: Go: the program is built" || sed 's/^/# /' "$WORK/go.log"
    if [ "$VIA" = preload ]; then
        skip 'a static program does not load a library' "$VIA: Go"
    else
        sut_start goweb "$goweb" serve :8205 "$WORK/www"
        serves goweb 8205
        peer_start goweb "$goweb" serve :8206 "$WORK/www"
        wait_until 10 peer nc -z $PEER4 8206
        is "$(sut "$goweb" get "http://$PEER4:8206/large" | sha256sum)" "$LARGE_SUM" "$VIA: Go: a client"
        is "$(sut "$goweb" get "http://[$PEER6]:8206/small" | sha256sum)" "$SMALL_SUM" "$VIA: Go: a client over IPv6"
        sut_stop goweb
    fi
fi
if has java; then
    cat >"$WORK/Web.java" <<'EOT'
import com.sun.net.httpserver.*;
import java.net.*;
import java.nio.file.*;
public class Web {
    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(8207), 16);
        server.createContext("/", ask -> {
            byte[] data = Files.readAllBytes(Path.of(args[0], Path.of(ask.getRequestURI().getPath()).getFileName().toString()));
            ask.sendResponseHeaders(200, data.length);
            ask.getResponseBody().write(data);
            ask.close();
        });
        server.start();
    }
}
EOT
    [ -f "$WORK/Web.class" ] || javac -d "$WORK" "$WORK/Web.java" >"$WORK/javac.log" 2>&1 || sed 's/^/# /' "$WORK/javac.log"
    sut_start java java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$WORK" Web "$WORK/www"
    serves java 8207
fi
