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
)

func main() {
	os.Exit(gate.Run(os.Args[1:], os.Stdout, os.Stderr, gate.Parts{
		Config: func(path string) (config.Config, error) {
			if path != "" {
				return config.Load(path, os.LookupEnv)
			}
			return config.LoadLayers("/", os.LookupEnv)
		},
		Record:    func(c config.Config) (gate.RecordReader, error) { return machine.Record(c) },
		Marker:    func(dir string) gate.MarkerReader { return device.Marker{Dir: dir} },
		Root:      "/",
		Getenv:    os.LookupEnv,
		Systemctl: systemctl,
	}))
}

// systemctl asks PID 1, by its private socket: there is no bus yet. A variable in
// the environment must not lead it elsewhere.
func systemctl(args ...string) error {
	const program = "/usr/bin/systemctl"
	p, err := os.StartProcess(program, append([]string{"systemctl"}, args...), &os.ProcAttr{
		Env: []string{}, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("systemctl %v: %v", args, state)
	}
	return err
}
