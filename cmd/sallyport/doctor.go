package main

import (
	"errors"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"sallyport/agent"
	"sallyport/agent/control"
	"sallyport/agent/doctor"
	"sallyport/agent/hostevidence"
	"sallyport/agent/sensor"
	"sallyport/rules"
)

func newDoctor(env environment) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host gives, and what is not seen",
		Long: `Say what this host gives, and what is not seen because of what it does not give.
Where no agent is running, every hook is attached for a moment and proved with
traffic on loopback; where one is running, it is asked.

Exit status: 0 all is well, 1 something is degraded or failed, 2 error.`,
		Example: `  sallyport doctor
  sallyport doctor -o json | jq '.[] | select(.level != "ok")'`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		checks := doctor.System(cfg.StateDir)
		h, err := control.NewClient(cfg.StateDir).Status(cmd.Context())
		switch {
		case err == nil:
			checks = append(checks, ofRunning(&h)...)
		case errors.Is(err, control.ErrNotRunning):
			checks = append(checks, doctor.Sensors(cmd.Context(), sensorsOf(cfg)...)...)
		default:
			return err
		}
		if err := printAs(env.stdout, format, checks, func(w io.Writer) error { return printChecks(w, checks) }); err != nil {
			return err
		}
		if doctor.Worst(checks) != doctor.OK {
			return exitError{1}
		}
		return nil
	}
	return cmd
}

func sensorsOf(cfg agent.Config) []sensor.Sensor {
	out := []sensor.Sensor{sensor.NewSocket(cfg.Sensor.Socket, hclog.NewNullLogger())}
	if cfg.Sensor.Link.Enabled {
		out = append(out, sensor.NewLink(cfg.Sensor.Link, hclog.NewNullLogger()))
	}
	if cfg.Sensor.Tunnel.Enabled {
		out = append(out, hostevidence.NewKernel(cfg.Sensor.Tunnel, nil, hclog.NewNullLogger()))
	}
	return out
}

// ofRunning reads the checks from what a running agent says of itself.
func ofRunning(h *rules.Heartbeat) []doctor.Check {
	checks := []doctor.Check{{Name: "agent", Level: doctor.OK, Found: "running, version " + h.Version}}
	for _, d := range h.Degraded {
		checks = append(checks, doctor.Check{Name: "sensors", Level: doctor.Degraded, Found: "a hook is missing", Consequence: d})
	}
	if len(h.Degraded) == 0 {
		checks = append(checks, doctor.Check{Name: "sensors", Level: doctor.OK, Found: "every hook is attached"})
	}
	for _, relay := range h.Relays {
		checks = append(checks, doctor.Check{
			Name: "intermediary", Level: doctor.Info, Found: relay,
			Consequence: "the true client of its flows is not known",
		})
	}
	for _, asker := range h.PrivateDNS {
		checks = append(checks, doctor.Check{
			Name: "private DNS", Level: doctor.Info, Found: asker,
			Consequence: "the names it looks up are not seen; its remotes are known by address, and by what TLS shows",
		})
	}
	return checks
}

func printChecks(w io.Writer, checks []doctor.Check) error {
	p := &linePrinter{w: w}
	for _, c := range checks {
		p.line("%-9s %-32s %s", c.Level, c.Name, c.Found)
		if c.Consequence != "" {
			p.line("%42s so: %s", "", c.Consequence)
		}
		if c.Remedy != "" {
			p.line("%42s do: %s", "", c.Remedy)
		}
	}
	return p.err
}
