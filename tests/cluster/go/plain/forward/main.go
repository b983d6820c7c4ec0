// Command forward accepts connections on a socket it inherits and dials each one on inside another network namespace.
//
// So the machine needs no route, address or interface to reach a cluster: only a port on its own loopback.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const dialWithin = 10 * time.Second

type request struct {
	reply chan net.Conn
}

// dial answers requests from a thread that has entered the namespace and never leaves it.
func dial(namespace, to string, requests <-chan request, entered chan<- error) {
	runtime.LockOSThread()
	file, err := os.Open(namespace)
	if err == nil {
		err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
	}
	entered <- err
	for each := range requests {
		connection, err := net.DialTimeout("tcp4", to, dialWithin)
		if err != nil {
			log.Print(err)
		}
		each.reply <- connection
	}
}

// copyHalf copies until the sender has finished, and tells the receiver so.
func copyHalf(to, from net.Conn, done chan<- struct{}) {
	_, _ = io.Copy(to, from) // either side may go away at any time, which ends both halves
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	done <- struct{}{}
}

func join(near, far net.Conn) {
	defer near.Close()
	defer far.Close()
	done := make(chan struct{}, 2)
	go copyHalf(near, far, done)
	go copyHalf(far, near, done)
	<-done
	<-done
}

func run(descriptor int, namespace, to string) error {
	listener, err := net.FileListener(os.NewFile(uintptr(descriptor), "listener"))
	if err != nil {
		return fmt.Errorf("-listener-fd: %w", err)
	}
	requests, entered := make(chan request), make(chan error)
	go dial(namespace, to, requests, entered)
	if err := <-entered; err != nil {
		return fmt.Errorf("-namespace: %w", err)
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		asked := request{make(chan net.Conn, 1)}
		requests <- asked
		if far := <-asked.reply; far != nil {
			go join(near, far)
		} else {
			near.Close()
		}
	}
}

func main() {
	descriptor := flag.Int("listener-fd", 3, "an inherited socket that listens")
	namespace := flag.String("namespace", "", "file of the network namespace to dial in")
	to := flag.String("to", "", "address to dial there")
	flag.Parse()
	log.Fatal("forward: ", run(*descriptor, *namespace, *to))
}
