//go:build race

package spool

// stride: under the race detector, which makes them ten times slower, the exhaustive tests take every so manieth case. They
// take all with -spool.soak, and without the detector.
const stride = 6
