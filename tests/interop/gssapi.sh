# The GSSAPI part of `run`, which sources it: a Kerberos realm on loopback, made by the ten lines of docs/kerberos.md as they
# stand there, and the clients that speak RFC 1961 in it, at each protection level that they know.
#
# Clients that nobody packages are used where they are on the PATH, and noted where they are not: a curl before 7.69 or
# from 8.17 on (as `curl` or `curl-VERSION`; those between lose their own negotiation), and a `socksify` that was
# configured with GSSAPI.
# shellcheck shell=bash disable=SC2154

gss_clients=(kerberos python-gssapi curl-gssapi socksify-gssapi)
realm_name=INTEROP.TEST
home=$work/realm
kerberos_page=$root/docs/kerberos.md

# ---- the realm

# The ten lines: the first block of the page.
kerberos_lines() {
    awk '/^    / { print substr($0, 5); found = 1; next } found { exit }' "$kerberos_page"
}

# What is not in the ten lines: where the realm keeps its files and listens, which a real machine has in /etc.
configure_realm() {
    local kdc_port
    kdc_port=$(free_port)
    mkdir -p "$home/bin"
    cat >"$home/krb5.conf" <<CONF
[libdefaults]
    default_realm = $realm_name
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
[realms]
    $realm_name = {
        kdc = 127.0.0.1:$kdc_port
    }
[domain_realm]
    localhost = $realm_name
[logging]
    kdc = FILE:$home/kdc.log
    default = FILE:$home/krb5.log
CONF
    cat >"$home/kdc.conf" <<CONF
[kdcdefaults]
    kdc_listen = 127.0.0.1:$kdc_port
    kdc_tcp_listen = 127.0.0.1:$kdc_port
[realms]
    $realm_name = {
        database_name = $home/principal
        key_stash_file = $home/stash
        acl_file = $home/acl
    }
CONF
    export KRB5_CONFIG=$home/krb5.conf KRB5_KDC_PROFILE=$home/kdc.conf KRB5CCNAME=FILE:$home/tickets
    export KRB5RCACHEDIR=$home
    PATH=$PATH:/usr/sbin:/sbin # where the KDC is, also for who is not root
}

# The programs of the ten lines that cannot run as they are: a KDC that `finish` can find, and a relay on a port of this
# run, which may reach the local web server.
stand_ins() {
    printf '#!/bin/sh\nexec "%s" -P "%s" "$@"\n' "$(command -v krb5kdc)" "$home/kdc.pid" >"$home/bin/krb5kdc"
    cat >"$home/bin/outflow" <<SH
#!/bin/sh
echo \$\$ >"$home/outflow.pid"
exec "$outflow" "\$@" --listen 127.0.0.1:${port[kerberos]} --allow-private --access "$work/kerberos.access"
SH
    chmod +x "$home/bin/krb5kdc" "$home/bin/outflow"
}

# Runs nine of the ten lines; the tenth is a client's. The answers are the master password, alice's, both twice, and
# alice's for her ticket.
make_realm() {
    local lines status
    kerberos_lines >"$home/lines"
    lines=$(wc -l <"$home/lines")
    ((lines == 10)) || { echo "docs/kerberos.md sets Kerberos up in $lines lines" && return 1; }
    sed '$d' "$home/lines" >"$home/setup"
    printf '%s\n' master master wonder wonder wonder >"$home/answers"
    (cd "$home" && PATH=$home/bin:$PATH timeout -k 2 "$case_seconds" bash -eu setup) \
        <"$home/answers" >"$work/kerberos-page.log" 2>&1
    status=$?
    if ((status != 0)); then
        echo "exit code $status: $(last_words "$work/kerberos-page.log")"
        return 1
    fi
    wait_until 10 listens "${port[kerberos]}" ||
        { echo "outflow does not listen: $(last_words "$work/kerberos-page.log")" && return 1; }
}

adopt() {
    local file
    for file in "$home/kdc.pid" "$home/outflow.pid"; do
        if [[ -s $file ]]; then pids+=("$(<"$file")"); fi
    done
}

# ---- verdicts

# How many sessions of this relay were alice's and ended well.
by_alice() { grep -c '"user":"alice",.*"method":"gssapi".*"reason":"completed"' "$work/$1.access" 2>/dev/null; }
by_alice_more() { (($(by_alice "$1") >= $2)); }

# gss_fetches RELAY CLIENT CASE LEVEL EXPECTED HOST PORT PATH: what comes is that file, and the record says who came
gss_fetches() {
    local relay=$1 client=$2 label=$3 before failures=$failed
    before=$(by_alice "$relay")
    fetches "$client" "$label" "$5" "${port[$relay]}" "$4" '' "${@:6}"
    if ((failed == failures)) && ! wait_until 5 by_alice_more "$relay" $((before + 1)); then
        fail "$client $label: no session of alice's in the access record: $(last_words "$work/$relay.access")"
    fi
}

# ---- the clients

declare -A wire=([none]=0 [integrity]=1 [confidentiality]=2 [per-message]=3) # RFC 1961 section 4

# gss_relay LEVELS ENGINE [NEC]: one outflow with gssapi alone and these levels
gss_relay() {
    local name=gss-${1// /-or-} levels=${1// /\", \"}
    if [[ ${3-} == nec ]]; then name=gss-nec; fi
    start_relay "$name" "$2" "[auth]
methods = [\"gssapi\"]
[auth.gssapi]
keytab = \"$home/outflow.keytab\"
protection = [\"$levels\"]
nec = $([[ ${3-} == nec ]] && echo true || echo false)"
}

start_gss_relays() {
    local engine level
    for engine in copy splice; do gss_relay none "$engine"; done
    for level in integrity confidentiality per-message 'confidentiality none'; do gss_relay "$level" copy; done
    gss_relay none copy nec
}

# tries LABEL LINE: the line brings the page, and the record says that alice came for it
tries() {
    local before
    before=$(by_alice kerberos)
    if ! (cd "$root" && timeout -k 2 "$case_seconds" bash -c "$2") >"$work/out" 2>"$work/err" </dev/null ||
        ! cmp -s "$work/page" "$work/out"; then
        fail "kerberos '$2': $(wc -c <"$work/out") bytes came: $(last_words "$work/err")"
    elif ! wait_until 5 by_alice_more kerberos $((before + 1)); then
        fail "kerberos '$2': no session of alice's in the access record"
    else
        ok kerberos "$1"
    fi
}

# The tenth line as it stands, but for the port of this run's relay and the page of its web server; and the line for a
# curl, by the first that can.
try_kerberos() {
    local line
    line=$(tail -1 "$home/lines")
    line=${line/ 1080 / ${port[kerberos]} }
    tries 'the tenth line of docs/kerberos.md' "${line/example.com 80 \//localhost $web_port /page}"
    line=$(grep -m 1 -- '^    curl .* --socks5-gssapi ' "$kerberos_page")
    if ((${#curls[@]} == 0)); then
        note kerberos 'no curl here can take the place of its tenth line'
        return
    fi
    line=${line/ curl / \"${curls[0]}\" -sS --fail --max-time 15 }
    line=${line/:1080/:${port[kerberos]}}
    tries 'the line of docs/kerberos.md for curl' "${line/http:\/\/example.com\//http://localhost:$web_port/page}"
}

try_python() {
    local level
    for level in none integrity confidentiality per-message; do
        for name in four.interop.test 127.0.0.1; do
            gss_fetches "gss-$level-copy" python-gssapi "$level $name" "${wire[$level]}" page "$name" "$web_port" /page
        done
    done
    gss_fetches gss-none-splice python-gssapi 'none splice' 0 page four.interop.test "$web_port" /page
    refuses python-gssapi 'none where confidentiality is demanded' 'answered 01ff' \
        "${port[gss-confidentiality-copy]}" 0 '' four.interop.test "$web_port" /page
}

# Each curl that can. One before 7.69 asks for no protection, a later one for confidentiality, which it cannot do: it
# needs a relay that answers none.
try_curl() {
    local version engine either=gss-confidentiality-or-none-copy
    for gss_curl in "${curls[@]}"; do
        version=$(curl_version "$gss_curl")
        for engine in copy splice; do
            for name in four.interop.test 127.0.0.1; do
                gss_fetches "gss-none-$engine" curl-gssapi "$version $engine $name" '' page "$name" "$web_port" /page
            done
        done
        gss_fetches gss-nec-copy curl-gssapi-nec "$version" '' page four.interop.test "$web_port" /page
        if (($(curl_number "$version") < 7069)); then
            gss_fetches "$either" curl-gssapi "$version by default" '' page four.interop.test "$web_port" /page
        else
            refuses curl-gssapi "$version where confidentiality is to be had" 'rejected|not yet implemented' \
                "${port[$either]}" '' '' four.interop.test "$web_port" /page
        fi
    done
}

try_socksify() {
    local engine level why
    for engine in copy splice; do
        gss_fetches "gss-none-$engine" socksify-gssapi "clear $engine" clear page four.interop.test "$web_port" /page
    done
    for level in integrity confidentiality; do
        gss_fetches "gss-$level-copy" socksify-gssapi "$level" "$level" page four.interop.test "$web_port" /page
    done
    if why=$(has_client socksify-ftp); then
        start_ftp_server
        binds socksify-gssapi-ftp gss-none copy
        for level in integrity confidentiality; do gss_puts "$level"; done
        note socksify-gssapi-put 'loses wrapped bytes that come with the second reply to BIND; it only stores'
    else
        note socksify-gssapi-ftp "skipped: $why"
    fi
    if why=$(has_client socksify-drill); then
        for level in none integrity confidentiality; do datagrams socksify-gssapi-drill "gss-$level"; done
    else
        note socksify-gssapi-drill "skipped: $why"
    fi
}

# gss_puts LEVEL: the client sends its page over a connection that came in. It cannot be sent one: when it accepts, it
# goes on with a new buffer, and what it has opened behind the second reply stays in the old one.
gss_puts() {
    local relay=gss-$1-copy before
    rm -f "$work/ftp/up"
    before=$(bound "$relay")
    fetches socksify-gssapi-put "$1" page "${port[$relay]}" "$1" '' 127.0.0.1 "$ftp_port" up
    wait_until 5 bound_more "$relay" $((before + 1)) || fail "socksify-gssapi-put $1: no BIND in the access record"
}

# ---- what is on this machine

# Of the form `7.68.0`.
curl_version() { "$1" --version | sed -n '1s/^curl \([0-9.]*\).*/\1/p'; }

find_curls() {
    local candidate version number
    curls=()
    for candidate in $(compgen -c curl | grep -xE 'curl(-[0-9.]+)?' | sort -u); do
        [[ $("$candidate" --version) == *GSS-API* ]] || continue
        version=$(curl_version "$candidate")
        number=$(curl_number "$version")
        if ((number >= 7069 && number < 8017)); then
            note curl-gssapi "curl $version loses its own negotiation (7.69 to 8.16 do) and is left out"
        else
            curls+=("$candidate")
        fi
    done
    ((${#curls[@]} > 0)) || note curl-gssapi 'skipped: no curl on the PATH speaks RFC 1961'
}

# 7.68.0 is 7068.
curl_number() {
    local major minor
    IFS=. read -r major minor _ <<<"$1"
    echo $((major * 1000 + minor))
}

find_socksify() {
    local candidate
    gss_socksify=
    printf '%s\n' 'route {' 'from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = 1' 'proxyprotocol: socks_v5' \
        'method: gssapi' '}' >"$work/socksify.conf"
    for candidate in $(type -aP socksify); do
        if [[ -z $gss_socksify ]] && SOCKS_CONF=$work/socksify.conf "$candidate" true >/dev/null 2>&1; then
            gss_socksify=$candidate
        fi
    done
    [[ -n $gss_socksify ]] || note socksify-gssapi 'skipped: no socksify on the PATH was built with GSSAPI'
}

find_python() {
    for gss_python in python3 /usr/bin/python3; do
        "$gss_python" -c 'import gssapi' 2>/dev/null && return
    done
    return 1
}

has_realm() {
    local PATH=$PATH:/usr/sbin:/sbin tool
    for tool in krb5kdc kdb5_util kadmin.local kinit; do has "$tool" || return; done
    find_python || { echo 'no python3 on this machine imports gssapi' && return 1; }
}

# ---- the run

try_gssapi() {
    local name why mine=()
    for name in "${gss_clients[@]}"; do
        if wanted "$name"; then mine+=("$name"); fi
    done
    ((${#mine[@]} > 0)) || return
    if ! why=$(has_realm); then
        skip "${mine[*]}" "$why"
        return
    fi
    configure_realm
    port[kerberos]=$(free_port)
    stand_ins
    if why=$(make_realm); then
        ok kerberos 'nine lines of docs/kerberos.md make a realm and a relay'
    else
        fail "kerberos: $why"
    fi
    adopt
    [[ -z $why ]] || return
    find_python && find_curls && find_socksify
    export gss_python gss_curl gss_socksify
    start_gss_relays
    for name in "${mine[@]}"; do
        case $name in
        kerberos) try_kerberos ;;
        python-gssapi) try_python ;;
        curl-gssapi) try_curl ;;
        socksify-gssapi) if [[ -n $gss_socksify ]]; then try_socksify; fi ;;
        esac
    done
}
