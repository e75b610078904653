// SPDX-License-Identifier: Apache-2.0

// Command accountlock-gate decides at boot whether the device opens.
package main

import (
	"fmt"
	"os"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/machine"
	"github.com/accountlock/accountlock/internal/tpm/reader"
)

func main() {
	os.Exit(gate.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, gate.Parts{
		Config: func(path string) (config.Config, error) {
			if path != "" {
				return config.Load(path, os.LookupEnv)
			}
			return config.LoadLayers("/", os.LookupEnv)
		},
		Record:    func(c config.Config) (gate.RecordReader, error) { return machine.Record(c, reader.Open) },
		Marker:    func(dir, spare string) gate.MarkerReader { return device.Marker{Dir: dir, Spare: spare} },
		Root:      "/",
		Getenv:    os.LookupEnv,
		Systemctl: func(args ...string) error { return run("/usr/bin/systemctl", args...) },
		Run:       func(program string) error { return run(program) },
	}))
}

// run runs a program and waits for it; what it says goes to the journal. systemctl
// asks PID 1 by its private socket: there is no bus yet. A variable in our
// environment must not lead it elsewhere.
func run(program string, args ...string) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(program, append([]string{program}, args...), &os.ProcAttr{
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Files: []*os.File{null, os.Stderr, os.Stderr},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s %v: %v", program, args, state)
	}
	return err
}
