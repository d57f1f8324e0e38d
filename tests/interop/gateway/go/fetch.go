// Fetches one page with Go's net/http, whose proxy is the environment's, or with the SOCKS5 dialer of golang.org/x/net.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/proxy"
)

func main() {
	dialer := flag.String("dialer", "", "address of a SOCKS5 proxy for golang.org/x/net/proxy")
	user := flag.String("user", "", "its user")
	password := flag.String("password", "", "and password")
	flag.Parse()
	if err := fetch(flag.Arg(0), *dialer, *user, *password); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetch(url, address, user, password string) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if address != "" {
		var auth *proxy.Auth
		if user != "" {
			auth = &proxy.Auth{User: user, Password: password}
		}
		socks, err := proxy.SOCKS5("tcp", address, auth, proxy.Direct)
		if err != nil {
			return err
		}
		transport = &http.Transport{Dial: socks.Dial}
	}
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
