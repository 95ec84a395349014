package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"sallyport/collector"
)

func newRun(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		Short:   "Serve agents and people until a signal comes",
		Example: "  sallyport-collector run --config /etc/sallyport/collector.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			logger := hclog.New(&hclog.LoggerOptions{
				Name: "collector", Level: hclog.LevelFromString(cfg.Log.Level), JSONFormat: cfg.Log.JSON, Output: c.stderr,
			})
			return collector.New(cfg, version, logger).Run(cmd.Context(), func(at collector.Addresses) {
				// For whoever started us: everything listens now.
				fmt.Fprintf(c.stdout, "agents https://%s\nconsole https://%s\nhealth http://%s\n", at.Agents, at.People, at.Health)
			})
		},
	}
}

func newInit(c command) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the CA and the first administrator",
		Long: `Makes the CA that agents trust and the console's first user, "admin", whose
one-time password is printed; the first sign-in asks for another. Run it once, as
the user the collector runs as. A second run fails and changes nothing; with --once
it changes nothing and says so.`,
		Example: "  sallyport-collector init --config /etc/sallyport/collector.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			made, err := collector.Init(cmd.Context(), cfg)
			if once && errors.Is(err, fs.ErrExist) {
				_, err = fmt.Fprintf(c.stdout, "%s is there already; nothing was changed\n", cfg.State)
				return err
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "state %s\nca_sha256 %s\nuser %s\none_time_password %s\n", cfg.State, made.CASHA256, collector.FirstAdmin, made.Password)
			return err
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "where there is a CA already, do nothing")
	return cmd
}

func newCheckConfig(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "check-config",
		Short:   "Check the configuration and start nothing",
		Example: "  sallyport-collector check-config --config collector.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := c.config(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.stdout, "configuration is valid")
			return err
		},
	}
}

func newBackup(c command) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the CA and the store of the running collector into a tar file",
		Long: `Waits until the store has what the stream has, then writes the CA and the store
into FILE, which must not exist. The file holds keys and packets: guard it. Of a
store in PostgreSQL only the CA is written; use pg_dump for the rest.`,
		Example: "  sallyport-collector backup /var/backups/sallyport.tar",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			a, err := c.admin()
			if err != nil {
				return err
			}
			return a.Do(cmd.Context(), "POST", "/backup", map[string]string{"path": path}, nil)
		},
	}
}

func newRestore(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "restore FILE",
		Short:   "Put a backup into an empty state folder; the collector must not run",
		Example: "  sallyport-collector restore /var/backups/sallyport.tar",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			return collector.Restore(cfg, args[0])
		},
	}
}
