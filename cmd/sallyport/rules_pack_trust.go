package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sallyport/rules/feed"
	"sallyport/rules/pack"
)

// packTrust are the flags of whoever verifies.
type packTrust struct{ root, seen string }

func (t *packTrust) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.root, "root", "", "`FILE` of the pinned root's public key")
	cmd.Flags().StringVar(&t.seen, "seen", "", "`FILE` of what was in force so far; nothing older is taken")
}

func (t *packTrust) open(path string) (*pack.Pack, pack.Seen, error) {
	root, err := pack.ReadPublicKey(t.root)
	if err != nil {
		return nil, pack.Seen{}, err
	}
	var seen pack.Seen
	if t.seen != "" {
		if seen, err = pack.ReadSeen(t.seen); err != nil {
			return nil, seen, err
		}
	}
	p, err := pack.Open(path, pack.Trust{Root: root, Seen: seen})
	return p, seen, err
}

func newPackVerify(env environment) *cobra.Command {
	var t packTrust
	cmd := &cobra.Command{
		Use:   "verify FILE --root FILE",
		Short: "Verify a pack's signature, contents and version",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, _, err := t.open(args[0])
			if err != nil {
				return err
			}
			return describePack(env.stdout, p)
		},
	}
	t.flags(cmd)
	required(cmd, "root")
	return cmd
}

// describePack prints what a pack is, and that it is stale where it is.
func describePack(w io.Writer, p *pack.Pack) error {
	entities, err := p.Entities()
	if err != nil {
		return err
	}
	rules, err := p.Detections(nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %d entities, %d detections, signed by the %s key %s, digest %s\n",
		plain(p.Ref().String()), len(entities), len(rules), p.Role, p.KeyID, p.Digest)
	allow, approved, err := p.Policies()
	if err != nil {
		return err
	}
	if allow != nil {
		fmt.Fprintf(w, "%d entries of an allow-list\n", len(allow.Allow))
	}
	if approved != nil {
		fmt.Fprintf(w, "%d approved tools\n", len(approved.Approved))
	}
	if reason, stale := p.Stale(time.Now()); stale {
		fmt.Fprintf(w, "stale: %s\n", plain(reason))
	}
	return nil
}

// packImport are the flags of rules pack import.
type packImport struct {
	trust  packTrust
	folder string
	force  bool
}

func newPackImport(env environment) *cobra.Command {
	i := packImport{}
	cmd := &cobra.Command{
		Use:   "import FILE --root FILE --seen FILE --to FOLDER",
		Short: "Verify a pack that came on a medium and put it where packs are kept",
		Long: `Verify a pack that came on a medium, and put it where packs are kept. One that
holds less than half of the indicators of the one it replaces is refused, unless
its signer said that this is right or --force does.`,
		Example: `  sallyport rules pack import signed.pack --root root.pub --seen /etc/sallyport/imported.json --to /etc/sallyport/packs
  sallyport reload`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return i.run(env, args[0]) },
	}
	i.trust.flags(cmd)
	cmd.Flags().StringVar(&i.folder, "to", "", "`FOLDER` to put the pack in")
	cmd.Flags().BoolVar(&i.force, "force", false, "take a pack of less than half of the indicators of the one it replaces")
	required(cmd, "root", "seen", "to")
	return cmd
}

func (i *packImport) run(env environment, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("import pack: %w", err)
	}
	defer source.Close()
	// Verified is the copy: the medium may change under the reader.
	copied := filepath.Join(i.folder, ".import.pack")
	if err := writeWhole(copied, func(w io.Writer) error { _, err := io.Copy(w, source); return err }); err != nil {
		return err
	}
	defer os.Remove(copied) // a no-op once renamed
	p, seen, err := i.trust.open(copied)
	if err != nil {
		return err
	}
	to := filepath.Join(i.folder, filepath.Base(p.Manifest.Name)+".pack")
	if err := i.checkSize(env, to, p); err != nil {
		return err
	}
	if err := os.Rename(copied, to); err != nil {
		return fmt.Errorf("import pack: %w", err)
	}
	if err := pack.WriteSeen(i.trust.seen, seen.Accept(p)); err != nil {
		return err
	}
	return describePack(env.stdout, p)
}

// checkSize compares with the pack that lies there, and says what is forced.
func (i *packImport) checkSize(env environment, to string, p *pack.Pack) error {
	before, after := 0, 0
	if _, err := os.Stat(to); err == nil {
		old, err := pack.OpenUnverified(to)
		if err != nil {
			return fmt.Errorf("read the pack it replaces: %w; remove it if it is damaged", err)
		}
		if before, err = indicatorsOf(old); err != nil {
			return err
		}
	}
	after, err := indicatorsOf(p)
	if err != nil {
		return err
	}
	if before == 0 { // it replaces nothing, or one of detections and policies alone
		return nil
	}
	err = feed.CheckSize(before, after, p.Manifest.Shrinks)
	if err != nil && i.force {
		_, err = fmt.Fprintf(env.stderr, "sallyport: forced: %d indicators take the place of %d\n", after, before)
	}
	return err
}

func indicatorsOf(p *pack.Pack) (n int, err error) {
	entities, err := p.Entities()
	for i := range entities {
		n += len(entities[i].Indicators)
	}
	return n, err
}

func newPackKey(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "key PREFIX",
		Short: "Make a key pair: PREFIX.key, for its owner only, and PREFIX.pub",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			public, err := pack.WriteKeyPair(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "key %s\n", pack.KeyID(public))
			return err
		},
	}
}

func newPackDelegate(env environment) *cobra.Command {
	var root, key, role, output string
	var serial uint64
	var days int
	var names []string
	cmd := &cobra.Command{
		Use:   "delegate --root FILE --key FILE --role ROLE --serial N --name PACK -o FILE",
		Short: "Let a key sign packs, with the offline root's key",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			private, err := pack.ReadPrivateKey(root)
			if err != nil {
				return err
			}
			public, err := pack.ReadPublicKey(key)
			if err != nil {
				return err
			}
			now := time.Now().UTC().Truncate(time.Second)
			statement := pack.Statement{Role: pack.Role(role), Key: []byte(public), Serial: serial, From: now, Names: names}
			if days > 0 {
				statement.Until = now.AddDate(0, 0, days)
			}
			signed, err := pack.Delegate(private, statement)
			if err != nil {
				return err
			}
			if err := pack.WriteChain(output, []pack.Signed{signed}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "key %s may sign %s\n", pack.KeyID(ed25519.PublicKey(public)), plain(fmt.Sprint(names)))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&root, "root", "", "`FILE` of the root's private key")
	f.StringVar(&key, "key", "", "`FILE` of the public key to let sign")
	f.StringVar(&role, "role", "vendor", "vendor, or local (may add only)")
	f.Uint64Var(&serial, "serial", 1, "serial of the statement; the highest for a role counts")
	f.IntVar(&days, "days", 0, "days the statement holds (default without end)")
	f.StringSliceVar(&names, "name", nil, "`NAME` of a pack the key may sign (repeatable)")
	f.StringVarP(&output, "output", "o", "", "`FILE` of statements to write")
	required(cmd, "root", "key", "name", "output")
	return cmd
}

// writeWhole writes a file whole or not at all.
func writeWhole(path string, content func(io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name()) // a no-op once renamed
	err = content(file)
	if err := errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
