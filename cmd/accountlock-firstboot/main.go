// SPDX-License-Identifier: Apache-2.0

// accountlock-firstboot is the one screen that a locked device shows. All of it
// is in internal/firstboot.
package main

import (
	"context"
	"os"

	"github.com/accountlock/accountlock/internal/firstboot"
	"github.com/accountlock/accountlock/internal/firstboot/kiosk"
)

// version is set by the build.
var version = "devel"

func main() { os.Exit(firstboot.Main(os.Args[1:], version, pages)) }

func pages(ctx context.Context, o firstboot.KioskOptions) error {
	browser := kiosk.Command(o.Browser)
	if o.URLFile != "" {
		browser = kiosk.File(o.URLFile)
	}
	return kiosk.Run(ctx, kiosk.Options{
		Session: o.Session, Networks: o.Networks, Lang: o.Lang, Region: o.Region, Now: o.Now, Browser: browser,
	})
}
