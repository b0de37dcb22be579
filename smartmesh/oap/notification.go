package oap

import (
	"encoding/binary"
	"time"
)

// Types of notification.
const (
	typeSample  = 0
	typeStats   = 1
	typeDigital = 2
	typePkGen   = 4
)

const (
	stampSize = 12                    // utcSecs i64, utcUsecs i32
	headSize  = stampSize + 4 + 1 + 1 // stamp, rate u32, numSamples u8, sampleSize u8
)

// parseNotification reads a notification, whose first three bytes have already been looked at.
func parseNotification(payload []byte) (Message, error) {
	if len(payload) < 4 {
		return nil, TooShort
	}
	kind := payload[3]
	switch kind {
	case typeSample, typeStats, typeDigital, typePkGen:
	default:
		return nil, UnsupportedType
	}
	channel, rest, err := cutAddress(payload[4:])
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeSample:
		return parseSample(channel, rest)
	case typeStats:
		return parseStats(channel, rest)
	case typeDigital:
		return parseDigital(channel, rest)
	}
	return parsePkGen(channel, rest)
}

// parseSample reads a sample after its address. More bytes than announced are allowed and ignored.
func parseSample(channel, data []byte) (Message, error) {
	if _, _, ok := Channel(channel); !ok {
		return nil, UnknownChannel
	}
	if len(data) < headSize {
		return nil, Truncated
	}
	count, size := int(data[16]), int(data[17])
	if size != 8 && size != 16 {
		return nil, BadSampleSize
	}
	raw := data[headSize:]
	if len(raw) < count*size/8 {
		return nil, Truncated
	}
	values := make([]int, count)
	for i := range values {
		if size == 8 {
			values[i] = int(raw[i])
		} else {
			values[i] = int(int16(binary.BigEndian.Uint16(raw[2*i:])))
		}
	}
	return Sample{Channel: channel, UTC: stamp(data), Rate: rate(data), Size: size, Values: values}, nil
}

func parseStats(channel, data []byte) (Message, error) {
	if len(data) < headSize {
		return nil, Truncated
	}
	return Stats{
		Channel: channel, UTC: stamp(data), Rate: rate(data),
		Count: int(data[16]), Size: int(data[17]), Rest: data[headSize:],
	}, nil
}

func parseDigital(channel, data []byte) (Message, error) {
	if len(data) < stampSize+1 {
		return nil, Truncated
	}
	return Digital{Channel: channel, UTC: stamp(data), Value: data[stampSize]}, nil
}

func parsePkGen(channel, data []byte) (Message, error) {
	if len(data) < 12 {
		return nil, Truncated
	}
	return PkGen{
		Channel:    channel,
		PID:        binary.BigEndian.Uint32(data),
		StartPID:   binary.BigEndian.Uint32(data[4:]),
		NumPackets: binary.BigEndian.Uint32(data[8:]),
		Payload:    data[12:],
	}, nil
}

// rate reads the interval after the stamp, u32 in milliseconds.
func rate(data []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(data[stampSize:])) * time.Millisecond
}

// Channel splits the address of an input: root is AddrTemperature (index 0), AddrAnalog or AddrDigitalIn. It is not ok for
// any other address. Motes have four analog and four digital inputs, but a higher index is let through.
func Channel(address []byte) (root byte, index int, ok bool) {
	switch {
	case len(address) == 1 && address[0] == AddrTemperature:
		return AddrTemperature, 0, true
	case len(address) == 2 && (address[0] == AddrAnalog || address[0] == AddrDigitalIn):
		return address[0], int(address[1]), true
	}
	return 0, 0, false
}

// Start gives the time of the first sample, in the manager's clock. The time stamp of a notification is that of its first
// sample, unless that would put the last one later than packetMade, when the packet was made at the mote (the time in the
// manager's data notification): then it is that of the last. A zero packetMade is not known and changes nothing.
func (s Sample) Start(packetMade time.Time) time.Time {
	span := time.Duration(max(len(s.Values)-1, 0)) * s.Rate
	if !packetMade.IsZero() && s.UTC.Add(span).After(packetMade) {
		return s.UTC.Add(-span)
	}
	return s.UTC
}
