package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"sallyport/agent"
	"sallyport/agent/deliver"
	"sallyport/rules"
)

// maxTokenFile bounds what is read of a token, in bytes.
const maxTokenFile = 8 << 10

func newEnrol(env environment) *cobra.Command {
	var tokenFile string
	cmd := &cobra.Command{
		Use:   "enrol",
		Short: "Enrol this host with a collector",
		Long: `Enrol this host with a collector: make a key on this host, and exchange an
enrolment token for a client certificate that renews itself. The token holds the
hash of the collector's CA, so that nothing is sent to anyone else.

The token is read from a file or from stdin, never from an argument: arguments
are visible to every process. In a pod, with deliver.collector.kubernetes in the
configuration, the pod's own token serves and none is named here.`,
		Example: `  sallyport-collector token create --uses 1 | ssh HOST sudo sallyport enrol --token-file -
  sallyport enrol --token-file /root/token`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "`FILE` that holds the token, - for stdin")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		id, err := enrol(cmd.Context(), cfg, tokenFile, env.stdin)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.stdout, "enrolled as %s with %s; the certificate is good until %s and renews itself\n",
			id.Name, id.URL, id.Expires().UTC().Format("2006-01-02 15:04 MST"))
		return err
	}
	return cmd
}

// enrol uses the token that is named, or else that of the pod.
func enrol(ctx context.Context, cfg agent.Config, tokenFile string, stdin io.Reader) (*deliver.Identity, error) {
	if tokenFile == "" && cfg.Deliver.Collector.Kubernetes.TokenFile != "" {
		return deliver.EnrolPod(ctx, cfg.Deliver.Collector, cfg.Host)
	}
	token, err := readToken(tokenFile, stdin)
	if err != nil {
		return nil, err
	}
	if _, err := rules.ParseToken(token); err != nil {
		return nil, err
	}
	return deliver.Enrol(ctx, token, cfg.Host, cfg.Deliver.Collector.IdentityDir)
}

func readToken(file string, stdin io.Reader) (string, error) {
	switch file {
	case "":
		return "", errors.New("no token: name its file with --token-file, or - for stdin")
	case "-":
		data, err := io.ReadAll(io.LimitReader(stdin, maxTokenFile))
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		return string(data), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return string(data), nil
}
