// SPDX-License-Identifier: Apache-2.0

// accountlock-firstboot is the one screen that a locked device shows. All of it
// is in internal/firstboot.
package main

import (
	"os"

	"github.com/accountlock/accountlock/internal/firstboot"
)

// version is set by the build.
var version = "devel"

func main() { os.Exit(firstboot.Main(os.Args[1:], version)) }
