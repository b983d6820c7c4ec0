// Command probe is what the pods of a cluster's own tests run: one small thing each, with an answer in one line.
//
//	probe serve ADDRESS            answers every TCP connection with the pod's host name
//	probe dial ADDRESS [TIMEOUT]   prints what a server answers
//	probe resolve NAME             prints the addresses of a name
//	probe write FILE TEXT          writes a file
//	probe read FILE                prints a file
//	probe allocate MEBIBYTES       takes memory and touches it
//	probe sleep                    waits to be stopped
//	probe exit CODE                ends with a code
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const pageBytes = 4096

func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			fmt.Fprintln(connection, name)
		}()
	}
}

func dial(address string, within time.Duration) error {
	connection, err := net.DialTimeout("tcp4", address, within)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, connection)
	return err
}

func resolve(name string) error {
	addresses, err := net.LookupHost(name)
	fmt.Println(strings.Join(addresses, " "))
	return err
}

func allocate(mebibytes int) {
	taken := make([]byte, mebibytes<<20)
	for at := 0; at < len(taken); at += pageBytes {
		taken[at] = 1
	}
	fmt.Println("took", len(taken))
}

func sleep() {
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, os.Interrupt)
	<-stopped
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "serve":
		return serve(arguments[1])
	case len(arguments) == 2 && arguments[0] == "dial":
		return dial(arguments[1], 2*time.Second)
	case len(arguments) == 3 && arguments[0] == "dial":
		within, err := time.ParseDuration(arguments[2])
		return errors.Join(err, dial(arguments[1], within))
	case len(arguments) == 2 && arguments[0] == "resolve":
		return resolve(arguments[1])
	case len(arguments) == 3 && arguments[0] == "write":
		return os.WriteFile(arguments[1], []byte(arguments[2]), 0o644)
	case len(arguments) == 2 && arguments[0] == "read":
		content, err := os.ReadFile(arguments[1])
		fmt.Println(string(content))
		return err
	case len(arguments) == 2 && arguments[0] == "allocate":
		mebibytes, err := strconv.Atoi(arguments[1])
		if err == nil {
			allocate(mebibytes)
		}
		return err
	case len(arguments) == 1 && arguments[0] == "sleep":
		sleep()
		return nil
	case len(arguments) == 2 && arguments[0] == "exit":
		code, err := strconv.Atoi(arguments[1])
		if err == nil {
			os.Exit(code)
		}
		return err
	}
	return fmt.Errorf("unknown command %q; the package's comment lists them", arguments)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}
