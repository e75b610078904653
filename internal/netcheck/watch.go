// SPDX-License-Identifier: Apache-2.0

package netcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle is how long a network is left to come to rest after its first change.
const settle = 500 * time.Millisecond

// Watch tells on the channel that links, addresses or routes have changed, until
// ctx ends; it then closes the channel. It sleeps in the kernel in between: an idle
// network costs nothing. Changes in quick succession are told once.
func Watch(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot listen to the kernel's network changes: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen to the kernel's network changes: %w", err), unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), "rtnetlink")
	changed := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	go func() {
		defer close(changed)
		defer stop()
		defer f.Close()
		listen(ctx, f, changed)
	}()
	return changed, nil
}

func listen(ctx context.Context, f *os.File, changed chan<- struct{}) {
	buf := make([]byte, 16<<10)
	for {
		if err := f.SetReadDeadline(time.Time{}); err != nil {
			return
		}
		// What it says does not matter, nor whether some of it was lost (ENOBUFS):
		// whoever hears of a change looks for themselves.
		if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		end := time.Now().Add(settle)
		for ctx.Err() == nil && f.SetReadDeadline(end) == nil {
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				break
			}
		}
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}
