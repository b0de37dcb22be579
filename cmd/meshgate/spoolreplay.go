package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/bridge"
	"github.com/meshgate/meshgate/gateway"
	"github.com/meshgate/meshgate/gateway/config"
)

// replayWindow is how many records may be on their way without an acknowledgement.
const replayWindow = 100

func spoolReplayCmd() *cobra.Command {
	var v spoolView
	var over, prefix, user, passwordFile, ca string
	cmd := &cobra.Command{
		Use: "replay [URL]", Short: "Publish stored records to a broker again", Args: cobra.MaximumNArgs(1),
		Long: `Every record has the number (seq) it always had and is marked "historical":true, so that a receiver that
knows (gateway, seq) can tell a repeat: to replay twice does no harm. Nothing is retained, and nothing changes
in the buffer: what waits for a bridge waits still.

With --bridge, the URL, the topics and the password are those of that bridge of --config.`,
		Example: "  meshgate spool replay mqtt://127.0.0.1:1883 --state-dir /mnt/card/var/lib/meshgate --prefix meshgate/greenhouse-1/\n" +
			"  meshgate spool replay --config gateway.yaml --bridge cloud --from 2026-11-24 --to 2026-11-25",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := v.open(cmd); err != nil {
				return err
			}
			if prefix == "" && v.id != "" {
				prefix = "meshgate/" + v.id + "/"
			}
			b := config.Bridge{Name: "replay", Username: user, PasswordFile: passwordFile, TLS: bridge.TLS{CA: ca}, ClientID: "meshgate-" + cmp.Or(v.id, "spool")}
			if over != "" {
				var err error
				if b, err = v.bridge(over); err != nil {
					return err
				}
			} else if prefix == "" {
				return status{exitUsage, errors.New("whose records they are is not known: say what goes before the topics, --prefix meshgate/ID/")}
			} else {
				b.Rules = bridge.Rules{{Pattern: "#", Direction: bridge.Out, QoS: 1, RemotePrefix: prefix, OwnPrefix: true}}
			}
			b.URLs = append(args, b.URLs...)
			if len(b.URLs) == 0 {
				return status{exitUsage, errors.New("where to? Give a URL such as mqtt://127.0.0.1:1883, or --bridge")}
			}
			return v.replay(cmd, b)
		},
	}
	cmd.Flags().StringVar(&over, "bridge", "", "to the broker and by the rules of this bridge of --config")
	cmd.Flags().StringVar(&prefix, "prefix", "", "goes before every topic (default: meshgate/ID/)")
	cmd.Flags().StringVar(&user, "username", "", "user name at the broker")
	cmd.Flags().StringVar(&passwordFile, "password-file", "", "file with its password")
	cmd.Flags().StringVar(&ca, "ca", "", "file of the authority that signed the broker's certificate")
	return v.flags(cmd, true)
}

// sentRecord is one that waits for its acknowledgement.
type sentRecord struct {
	seq     uint64
	receipt bridge.Receipt
}

// replay publishes what is chosen, in order, and says how to go on when the connection is lost.
func (v *spoolView) replay(cmd *cobra.Command, b config.Bridge) error {
	s, err := bridge.Connect(cmd.Context(), bridge.Config{Name: b.Name, URL: b.URLs[0], ClientID: b.ClientID + "-replay", Username: b.Username,
		PasswordFile: b.PasswordFile, TLS: b.TLS, Keepalive: b.Keepalive}, nil)
	if err != nil {
		return err
	}
	defer s.Close(cmd.Context())
	errs := cmd.ErrOrStderr()
	bar := newProgress(errs, "records", v.count())
	var n, bad, acked uint64
	var waiting []sentRecord
	collect := func(leave int) error {
		for len(waiting) > leave {
			<-waiting[0].receipt.Done()
			if err := waiting[0].receipt.Err(); err != nil {
				return err
			}
			n, acked, waiting = n+1, waiting[0].seq, waiting[1:]
		}
		return nil
	}
	err = v.publish(cmd.Context(), s, b, errs, bar, &bad, func(r sentRecord) error {
		waiting = append(waiting, r)
		return collect(replayWindow)
	})
	if rest := collect(0); err == nil {
		err = rest
	}
	if err != nil {
		bar.end("%d records published, up to %d; go on with --from %d", n, acked, acked+1)
		return err
	}
	bar.end("%d records published, %d that cannot be read, %s", n, bad, bar.rate())
	return nil
}

// publish gives the records that the bridge carries to the session, and each to sent.
func (v *spoolView) publish(ctx context.Context, s *bridge.Session, b config.Bridge, errs io.Writer, bar *progress, bad *uint64, sent func(sentRecord) error) error {
	for r, err := range v.records(errs, bar, true, bad) {
		if err != nil {
			return err
		}
		remote, qos, ok := gateway.Carries(b, r.Record)
		if !ok {
			continue
		}
		receipt, err := s.Publish(ctx, bridge.Message{Topic: remote, Payload: r.payload, QoS: max(qos, 1)})
		if err != nil {
			return fmt.Errorf("record %d: %w", r.Seq, err)
		}
		if err := sent(sentRecord{r.Seq, receipt}); err != nil {
			return err
		}
	}
	return nil
}
