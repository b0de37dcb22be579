package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshgate/meshgate/hdlc"
	"github.com/meshgate/meshgate/smartmesh"
	"github.com/meshgate/meshgate/smartmesh/health"
	"github.com/meshgate/meshgate/smartmesh/mux"
	"github.com/meshgate/meshgate/smartmesh/oap"
)

// maxLine bounds a line of hex: half a megabyte of capture.
const maxLine = 1 << 20

func decodeCmd() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "decode", Short: "Decode hex lines from standard input, one JSON object a line", Args: cobra.NoArgs,
		Example: "  echo 7e0003000204009b387e | meshgate decode\n" +
			"  echo 050002ff020302000101 | meshgate decode --group oap",
		RunE: func(cmd *cobra.Command, _ []string) error {
			decode, ok := decoders()[group]
			if !ok {
				return status{exitUsage, fmt.Errorf("--group %q is none of %s", group, groups)}
			}
			return decodeLines(cmd.InOrStdin(), cmd.OutOrStdout(), decode, mayBeEmpty[group])
		},
	}
	cmd.Flags().StringVar(&group, "group", "hdlc", groups)
	return cmd
}

const groups = "hdlc, handshake, requests, responses, notifications, oap (HEX [DSTPORT]), health-reports, mux, blink"

func decoders() map[string]func(string) (map[string]any, error) {
	return map[string]func(string) (map[string]any, error){
		"hdlc":           bytesOf(decodeHDLC),
		"handshake":      frameOf(smartmesh.DescribeHandshake),
		"requests":       frameOf(smartmesh.DescribeRequest),
		"responses":      frameOf(smartmesh.DescribeResponse),
		"notifications":  frameOf(smartmesh.DescribeNotification),
		"oap":            decodeOAP,
		"health-reports": bytesOf(health.Describe),
		"mux":            bytesOf(func(b []byte) map[string]any { return mux.Describe(b, describeMuxData) }),
		"blink":          bytesOf(oap.DescribeBlink),
	}
}

// mayBeEmpty are the groups whose lines are payloads: an empty line is an empty payload.
var mayBeEmpty = map[string]bool{"oap": true, "health-reports": true, "blink": true}

// decodeLines writes one object a line, also for a line that is no hex: that one costs only itself.
func decodeLines(in io.Reader, out io.Writer, decode func(string) (map[string]any, error), empty bool) error {
	var bad error
	err := eachLine(in, empty, func(n int, line string) error {
		form, err := decode(line)
		if err != nil {
			form = map[string]any{"error": err.Error()}
			bad = cmp.Or(bad, fmt.Errorf("line %d: %w", n, err))
		}
		return json.NewEncoder(out).Encode(form)
	})
	return cmp.Or(err, bad)
}

// eachLine calls do for every line, of those that are empty only if told so.
func eachLine(in io.Reader, empty bool, do func(n int, line string) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" && !empty {
			continue
		}
		if err := do(n, line); err != nil {
			return err
		}
	}
	return lines.Err()
}

func unhex(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, fmt.Errorf("not hex: %w", err)
	}
	return b, nil
}

func bytesOf(describe func([]byte) map[string]any) func(string) (map[string]any, error) {
	return func(line string) (map[string]any, error) {
		b, err := unhex(line)
		if err != nil {
			return nil, err
		}
		return describe(b), nil
	}
}

// decodeHDLC takes the bytes as a stream of frames, and as a packet whose check sequence is asked for.
func decodeHDLC(b []byte) map[string]any {
	fcs := hdlc.FCS(b)
	form := map[string]any{"frames": []string{}, "errors": []string{},
		"fcs": fcs, "fcs_wire": hex.EncodeToString([]byte{byte(fcs), byte(fcs >> 8)})}
	frames, bad, pending := unframe(b)
	for _, f := range frames {
		form["frames"] = append(form["frames"].([]string), hex.EncodeToString(f))
	}
	for _, e := range bad {
		form["errors"] = append(form["errors"].([]string), e.Word())
	}
	if isEveryByte(b) {
		form["crc_table"] = crcTable(b)
	}
	// Bytes that neither begin with a flag nor hold a frame are a packet whose check sequence is
	// asked for, in which 0x7E is a value like any other.
	if pending && (b[0] == flag || len(frames)+len(bad) > 0) {
		form["pending"] = true
	}
	return form
}

// isEveryByte reports whether b is 0 to 255 in order: then the table of the check sequence is asked for.
func isEveryByte(b []byte) bool {
	for i, v := range b {
		if int(v) != i {
			return false
		}
	}
	return len(b) == 256
}

// crcTable gives, for each byte, the register of the check sequence after it when it was 0 before. A check sequence
// begins with all ones and ends inverted, which is undone here.
func crcTable(b []byte) []uint16 {
	table := make([]uint16, 0, len(b))
	for _, v := range b {
		table = append(table, ^hdlc.FCS([]byte{^v})^0xff)
	}
	return table
}

// flag opens and closes frames (package hdlc).
const flag = 0x7e

func unframe(b []byte) (frames [][]byte, bad []hdlc.FrameError, pending bool) {
	r := hdlc.NewReader(bytes.NewReader(b))
	for {
		p, err := r.Next()
		var fe hdlc.FrameError
		switch {
		case err == nil:
			frames = append(frames, bytes.Clone(p))
		case errors.As(err, &fe):
			bad = append(bad, fe)
		default:
			return frames, bad, r.Pending()
		}
	}
}

// frameOf takes a line as one whole frame and describes its packet.
func frameOf(describe func([]byte) map[string]any) func(string) (map[string]any, error) {
	return bytesOf(func(b []byte) map[string]any {
		frames, bad, pending := unframe(b)
		switch {
		case len(bad) > 0:
			return map[string]any{"error": bad[0].Word()}
		case len(frames) != 1 || pending:
			return map[string]any{"error": fmt.Sprintf("%d whole frames in the line, want one", len(frames))}
		}
		return describe(frames[0])
	})
}

// The response codes that a mux gives by itself (mux.md, section 5).
const muxCodes, muxCodesEnd = 3, 5

// describeMuxData explains the data of a mux message: the payload of a packet without its header.
func describeMuxData(command byte, request bool, data []byte) map[string]any {
	p := smartmesh.Packet{Control: 0x03, Type: command, Payload: data}
	describe := smartmesh.DescribeResponse
	switch {
	case command == mux.TypeNotification:
		p.Control, describe = 0, smartmesh.DescribeNotification
	case request:
		p.Control, describe = 0x02, smartmesh.DescribeRequest
	}
	form := describe(p.Append(nil))
	if rc, ok := form["rc"].(smartmesh.RC); ok && rc >= muxCodes && rc <= muxCodesEnd {
		delete(form, "warnings") // the mux's own codes, which the manager does not have
	}
	for _, header := range []string{"control", "type", "seq", "length", "payload", "kind", "reliable", "ack_hex"} {
		delete(form, header)
	}
	return form
}

func decodeOAP(line string) (map[string]any, error) {
	text, port, found := strings.Cut(line, " ")
	dst := uint64(oap.Port)
	if found {
		var err error
		if dst, err = strconv.ParseUint(strings.TrimSpace(port), 0, 16); err != nil {
			return nil, fmt.Errorf("destination port: %w", err)
		}
	}
	b, err := unhex(text)
	if err != nil {
		return nil, err
	}
	return oap.Describe(uint16(dst), b), nil
}

func encodeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "encode", Short: "Make the frame of each request from its JSON form on standard input", Args: cobra.NoArgs,
		Example: `  echo '{"command":"getTime","seq":79,"fields":{}}' | meshgate encode`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return eachLine(cmd.InOrStdin(), false, func(n int, line string) error {
				packet, err := smartmesh.EncodeRequest([]byte(line))
				if err != nil {
					return fmt.Errorf("line %d: %w", n, err)
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), hex.EncodeToString(hdlc.AppendFrame(nil, packet)))
				return err
			})
		},
	}
}
