// SPDX-License-Identifier: Apache-2.0

package device

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

// given are the ports that this process has given out.
var given sync.Map

// FreePort returns a port of 127.0.0.1 for a service that is not there from now until the
// test's end without a break. It is none of those that the kernel gives to whoever asks for
// any: one of these is somebody else's soon.
func FreePort(t testing.TB) string {
	t.Helper()
	const lowest = 10_000
	beyond := 32_768
	if raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(raw), &beyond)
	}
	for range 100 {
		port := "0" // where the kernel gives them all
		if beyond > lowest+1000 {
			port = strconv.Itoa(lowest + rand.IntN(beyond-lowest))
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		_ = l.Close()
		if _, before := given.LoadOrStore(port, true); !before {
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
