//go:build !race

package spool

const stride = 1
