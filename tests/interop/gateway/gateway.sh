# The part of `run`, which sources it, in which one port serves every client: HTTP proxies in both forms, SOCKS4 and 4a,
# SOCKS5, Tor's extensions, TLS to the listener, and the PROXY protocol before and behind.
# shellcheck shell=bash disable=SC2154

gateway=$here/gateway
node_packages=(undici@7.30.2 global-agent@4.1.6)
browser_seconds=40 # one start of a browser, one page
# From where clients come of which others are told.
export elsewhere=127.0.0.77

# ---- what is fetched

# A certificate authority and a leaf, for the origin and for the listener.
make_certificates() {
    local tls=$work/tls
    mkdir -p "$tls"
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=interop authority' \
            -keyout "$tls/ca.key" -out "$tls/ca.pem" &&
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
                -keyout "$tls/leaf.key" -out "$tls/leaf.csr" &&
            openssl x509 -req -in "$tls/leaf.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 2 \
                -extfile <(printf '%s\n' 'subjectAltName=DNS:localhost,DNS:*.interop.test,IP:127.0.0.1,IP:::1' \
                    'basicConstraints=CA:FALSE' 'extendedKeyUsage=serverAuth') -out "$tls/leaf.pem"
    } 2>"$tls/openssl.log" || give_up "no certificates: $(last_words "$tls/openssl.log")"
}

# A Debian repository, a git repository and an index of Python packages, each with the page in it.
make_repositories() {
    local files=$work/files page=$work/page deb
    mkdir -p "$files/apt" "$files/page.git" "$files/simple/interop-page" "$work/told" "$work/package/DEBIAN"
    printf '%s\n' 'Package: interop-page' 'Version: 1.0' 'Architecture: all' 'Maintainer: Nobody <nobody@interop.test>' \
        'Description: a page' >"$work/package/DEBIAN/control"
    cp "$page" "$work/package/page"
    deb=$files/apt/interop-page_1.0_all.deb
    dpkg-deb --root-owner-group --build "$work/package" "$deb" >/dev/null || return
    {
        cat "$work/package/DEBIAN/control"
        echo "Filename: ./$(basename "$deb")"
        echo "Size: $(stat -c %s "$deb")"
        echo "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)"
    } >"$files/apt/Packages"

    git init -q "$work/clone" && cp "$page" "$work/clone/page" && git -C "$work/clone" add page &&
        git -C "$work/clone" -c user.name=nobody -c user.email=nobody@interop.test commit -qm 'A page' &&
        git clone -q --bare "$work/clone" "$files/page.git" && git -C "$files/page.git" update-server-info || return

    python3 - "$files/simple/interop-page" "$page" <<'PYTHON'
import sys
import zipfile

folder, page = sys.argv[1:]
name = "interop_page-1.0-py3-none-any.whl"
with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
    wheel.write(page, "page")
    wheel.writestr("interop_page-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: interop-page\nVersion: 1.0\n")
    wheel.writestr("interop_page-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("interop_page-1.0.dist-info/RECORD", "")
with open(f"{folder}/index.html", "w") as index:
    index.write(f'<!DOCTYPE html><a href="{name}">{name}</a>')
PYTHON
}

# What browsers trust: a database of the user's, which Chromium reads and Firefox's profiles begin with.
make_browser_home() {
    local database=$work/home/.pki/nssdb
    [[ -d $database ]] && return
    mkdir -p "$database"
    certutil -N -d "sql:$database" --empty-password &&
        certutil -A -d "sql:$database" -t C,, -n interop -i "$work/tls/ca.pem"
}

# ---- one outflow for each method

# start_gateway METHOD: every protocol on one port, the same under TLS on another and behind a balancer on a third; ports
# go to ${port[gateway-METHOD]}, ${port[gateway-METHOD-tls]} and ${port[gateway-METHOD-balanced]}
start_gateway() {
    local name=gateway-$1 all tls balanced flags=()
    all=$(free_port) tls=$(free_port) balanced=$(free_port)
    {
        echo '[server]'
        echo 'workers = 2'
        echo '[[listener]]'
        echo 'name = "all"'
        echo "address = \"127.0.0.1:$all\""
        echo 'protocols = ["socks5", "socks4", "http"]'
        echo '[[listener]]'
        echo 'name = "tls"'
        echo "address = \"127.0.0.1:$tls\""
        echo 'protocols = ["socks5", "http"]'
        echo "tls = { cert = \"$work/tls/leaf.pem\", key = \"$work/tls/leaf.key\" }"
        echo '[[listener]]'
        echo 'name = "balanced"'
        echo "address = \"127.0.0.1:$balanced\""
        echo 'protocols = ["socks5", "http"]'
        echo 'proxy_protocol = "required"'
        echo 'proxy_from = ["127.0.0.1/32"]'
        echo '[[proxy_out]]'
        echo 'to = ["127.0.0.1"]'
        echo "ports = [$behind_nginx]"
        echo 'version = 1'
        echo '[[proxy_out]]'
        echo 'to = ["127.0.0.1"]'
        echo "ports = [$behind_haproxy]"
        echo 'version = 2'
        echo 'tlvs = ["unique_id", "authority", "crc32c"]'
        echo '[http]'
        echo 'pac = true'
        echo '[tor]'
        echo 'resolve = true'
        echo '[dns]'
        echo "servers = [\"127.0.0.1:$dns_port\"]"
        echo '[log]'
        echo "access = \"$work/$name.access\""
    } >"$work/$name.toml"
    if [[ $1 == password ]]; then flags=(--users "$work/users"); fi
    "$outflow" run --config "$work/$name.toml" --allow-private "${flags[@]}" >"$work/$name.log" 2>&1 </dev/null &
    pids+=($!)
    wait_until 10 listens "$all" || give_up "$name does not listen: $(last_words "$work/$name.log")"
    port[$name]=$all port[$name-tls]=$tls port[$name-balanced]=$balanced
}

# HAProxy in front of each relay, by both versions, and HAProxy and nginx as targets that want a header and tell whose
# address it gave.
start_balancers() {
    local conf=$work/haproxy.cfg version method front
    mkdir -p "$work/nginx"
    {
        printf '%s\n' defaults 'mode tcp' 'timeout connect 10s' 'timeout client 1m' 'timeout server 1m'
        for method in none password; do
            for version in send-proxy send-proxy-v2; do
                front=$(free_port)
                port[gateway-$method-$version]=$front
                printf '%s\n' "listen $method-$version" "bind 127.0.0.1:$front" \
                    "server relay 127.0.0.1:${port[gateway-$method-balanced]} $version"
            done
        done
        printf '%s\n' 'frontend behind' 'mode http' "bind 127.0.0.1:$behind_haproxy accept-proxy" \
            'http-request return status 200 content-type text/plain lf-string "%[src]\n"'
    } >"$conf"
    haproxy -q -db -f "$conf" >"$work/haproxy.log" 2>&1 &
    pids+=($!)
    cat >"$work/nginx/nginx.conf" <<CONF
daemon off;
master_process off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    server {
        listen 127.0.0.1:$behind_nginx proxy_protocol;
        location / { return 200 "\$proxy_protocol_addr\n"; }
    }
}
CONF
    nginx -p "$work/nginx" -c "$work/nginx/nginx.conf" >"$work/nginx.log" 2>&1 &
    pids+=($!)
    wait_until 10 listens "$front" || give_up "HAProxy does not listen: $(last_words "$work/haproxy.log")"
    wait_until 10 listens "$behind_nginx" || give_up "nginx does not listen: $(last_words "$work/nginx.log")"
    echo "$elsewhere" >"$work/client-address"
}

# ---- the cases

# way CLIENT NEEDS AUTH PATH HOST... : what it needs, whether it has a password for a proxy, and what it fetches from whom
ways=()
declare -A way_needs way_auth way_path way_hosts
way() {
    ways+=("$1")
    way_needs[$1]=$2 way_auth[$1]=$3 way_path[$1]=$4 way_hosts[$1]=${*:5}
}
name=four.interop.test
way curl-http curl yes /page $name 127.0.0.1 ::1
way curl-http-connect curl yes /page $name 127.0.0.1 ::1
way curl-https-page curl yes /page $name
way curl-http-put curl yes /sum $name
way curl-http-chunked curl yes /sum $name
way curl-https-proxy curl yes /page $name 127.0.0.1
way curl-https-proxy-connect curl yes /page $name 127.0.0.1
way curl-socks4 curl no /page 127.0.0.1
way curl-socks4a curl no /page $name 127.0.0.1
way wget wget yes /page $name
way wget-https-page wget yes /page $name
way apt-get apt-get yes /files/apt $name
way git git yes /files/page.git $name
way pip python yes /files/simple $name
way requests python yes /page $name 127.0.0.1
way urllib python yes /page $name
way scrapy python yes /page $name
way undici node yes /page $name 127.0.0.1
way global-agent node yes /page $name 127.0.0.1
way go-http go yes /page $name
way go-socks5 go yes /page $name
way go-x-net go yes /page $name 127.0.0.1
way go-x-net-tls go yes /page $name
way java-http java yes /page $name 127.0.0.1
way java-socks5 java yes /page $name 127.0.0.1
way java-socks4 java no /page 127.0.0.1
way chromium-http chromium no /page $name
way chromium-https-proxy chromium no /page $name
way chromium-socks5 chromium no /page $name
way chromium-socks4 chromium no /page $name
way chromium-pac chromium no /page $name
way firefox-http firefox no /page $name
way firefox-https-proxy firefox no /page $name
way firefox-socks5 firefox no /page $name
way firefox-socks4 firefox no /page $name
way firefox-pac firefox no /page $name
way tor-resolve tor no /page $name
way tor-resolve-x tor no /page 192.0.2.9
way torsocks torsocks yes /page $name
way curl-haproxy-protocol curl no /page $name
way haproxy-send-proxy haproxy yes /page $name
way haproxy-send-proxy-v2 haproxy yes /page $name
way haproxy-accept-proxy haproxy yes / 127.0.0.1
way nginx-accept-proxy nginx yes / 127.0.0.1

has_gateway_client() {
    case ${way_needs[$1]} in
    python) has_python_clients ;;
    node) has_node_http_clients ;;
    go) has_go_client ;;
    java) has_java_client ;;
    chromium) has chromium && has certutil && make_browser_home ;;
    firefox) has firefox-esr && has certutil && make_browser_home ;;
    tor) has tor-resolve ;;
    torsocks)
        has torsocks && has ip && { unshare --net true 2>/dev/null || { echo 'no network of its own' && return 1; }; }
        ;;
    haproxy | nginx) has haproxy && has nginx ;;
    *) has "${way_needs[$1]}" ;;
    esac
}

has_node_http_clients() {
    has node && has npm || return
    [[ -d $kit/node/node_modules/global-agent && -d $kit/node/node_modules/undici ]] && return
    mkdir -p "$kit/node"
    # npm takes away what it is not told of.
    quietly npm install --no-save --no-audit --no-fund --prefix "$kit/node" "$socks_package" "${node_packages[@]}"
}

has_go_client() {
    has go || return
    [[ -d /usr/share/gocode/src/golang.org/x/net/proxy ]] || { echo 'no golang.org/x/net on this machine' && return 1; }
    [[ $kit/go/fetch -nt $gateway/go/fetch.go ]] && return
    mkdir -p "$kit/go"
    quietly env GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$kit/go/cache" GOFLAGS= \
        go build -o "$kit/go/fetch" "$gateway/go/fetch.go"
}

has_java_client() {
    has java && has javac || return
    [[ $kit/java/Fetch.class -nt $gateway/java/Fetch.java ]] && return
    mkdir -p "$kit/java"
    quietly javac -d "$kit/java" "$gateway/java/Fetch.java"
}

try_way() {
    local client=$1 method host expected=page web=$web_port listener=''
    case $client in
    *-https-page) web=$tls_port ;;
    *-https-proxy* | *-tls) listener=-tls ;;
    curl-haproxy-protocol) listener=-balanced ;;
    haproxy-send-*) listener=-${client#haproxy-} ;;
    haproxy-accept-proxy) web=$behind_haproxy expected=client-address ;;
    nginx-accept-proxy) web=$behind_nginx expected=client-address ;;
    curl-http-put | curl-http-chunked) expected=sum ;;
    tor-resolve) expected=four ;;
    tor-resolve-x) expected=nine ;;
    esac
    case $client in
    chromium-* | firefox-*) local case_seconds=$browser_seconds ;;
    esac
    for method in none password; do
        [[ $method == none || ${way_auth[$client]} == yes ]] || continue
        identity "$method"
        for host in ${way_hosts[$client]}; do
            [[ $host != ::1 || $families == 2 ]] || continue
            fetches "$client" "$method $host" "$expected" "${port[gateway-$method$listener]}" "${as[@]}" "$host" "$web" "${way_path[$client]}"
        done
    done
}

# What curl alone shows: the status for each cause.
gateway_extras() {
    local closed none=${port[gateway-none]} password=${port[gateway-password]}
    closed=$(free_port)
    refuses curl-http 'wrong password' '407' "$password" "$user" wrong $name "$web_port" /small
    refuses curl-http 'no password' '407' "$password" '' '' $name "$web_port" /small
    refuses curl-http-connect 'no password' '407' "$password" '' '' $name "$web_port" /small
    refuses curl-http 'closed port' '502' "$none" '' '' 127.0.0.1 "$closed" /small
    refuses curl-http 'unknown name' '502' "$none" '' '' no.interop.test "$web_port" /small
    refuses curl-socks4a 'closed port' '91' "$none" '' '' 127.0.0.1 "$closed" /small
    refuses curl-socks4a 'no password' '91|93' "$password" '' '' $name "$web_port" /small
}

# recorded LISTENER PROTOCOL [ADDRESS]: a client that went past the relay would leave no record of it; and of whom a
# balancer told, the address
recorded() {
    # Read to the end: one that stops at the first would end those before it by SIGPIPE, which `pipefail` takes for a failure.
    if grep -F "\"listener\":\"$1\"" "$work"/gateway-*.access | grep -F "\"protocol\":\"$2\"" |
        grep -F "\"client\":\"${3-127.0.0.1}:" >/dev/null; then
        ok records "$*"
    else
        fail records "$*: none"
    fi
}

try_gateway() {
    local client why tried=0 protocol
    behind_nginx=$(free_port) behind_haproxy=$(free_port)
    for client in "${ways[@]}"; do
        wanted "$client" || continue
        if ((tried == 0)); then
            make_repositories 2>"$work/repositories.log" || give_up "no repositories: $(last_words "$work/repositories.log")"
            echo nine.interop.test >"$work/nine"
            start_gateway none
            start_gateway password
            if command -v haproxy nginx >/dev/null; then start_balancers; fi
        fi
        tried=1
        if why=$(has_gateway_client "$client"); then try_way "$client"; else skip "$client" "$why"; fi
    done
    if wanted curl-http; then gateway_extras; fi
    [[ $only == '  ' ]] || return 0
    for protocol in socks5 socks4 http; do recorded all "$protocol"; done
    for protocol in socks5 http; do recorded tls "$protocol"; done
    recorded balanced http "$elsewhere"
}
