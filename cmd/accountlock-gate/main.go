// SPDX-License-Identifier: Apache-2.0

// Command accountlock-gate decides at boot whether the device opens.
package main

import (
	"os"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/record"
)

func main() {
	os.Exit(gate.Run(os.Args[1:], os.Stdout, os.Stderr, gate.Parts{
		Config: func(path string) (config.Config, error) {
			if path != "" {
				return config.Load(path, os.LookupEnv)
			}
			return config.LoadLayers("/", os.LookupEnv)
		},
		Record: func(spec string) (gate.RecordReader, error) { return record.Open(spec) },
		Marker: func(dir string) gate.MarkerReader { return device.Marker{Dir: dir} },
	}))
}
