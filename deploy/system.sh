#!/usr/bin/env bash
# Sees that the programs which do not come from PyPI are here, and gets them from Debian where it may.
#   deploy/system.sh demo    Mosquitto, a C compiler, the shared library of this Python
#   deploy/system.sh test    the same; in CI also Java, Maven, Chromium, Prometheus, OpenSSL's headers, Debian's Python
#   deploy/system.sh bench   the same as demo, and OpenSSL with its headers, for the plugin in C to compare with
#   deploy/system.sh broker  the same as demo, and what Mosquitto itself is built with
set -euo pipefail

purpose=$1
PATH=$PATH:/usr/sbin:/sbin
packages=()

want() { # want COMMAND PACKAGE…
  local command=$1
  shift
  command -v "$command" >/dev/null || packages+=("$@")
}

want mosquitto mosquitto
want cc gcc libc6-dev
# Its topic matcher is what ours is compared with; Debian's mosquitto brings it, other builds may not.
if [ "$purpose" = test ] && ! ldconfig -p | grep 'libmosquitto\.so\.1 ' >/dev/null; then
  packages+=(libmosquitto1)
fi
# Debian's python3 carries its interpreter inside the program; the broker needs it as a library.
packages+=($(.venv/bin/python - <<'PYTHON'
import pathlib
import sys
import sysconfig

name = sysconfig.get_config_var("INSTSONAME") or ""
places = [sysconfig.get_config_var("LIBDIR"), f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}", f"{sys.base_prefix}/lib"]
if ".so" in name and not any((pathlib.Path(place) / name).exists() for place in places if place):
    print(f"libpython{sys.version_info.major}.{sys.version_info.minor}")
PYTHON
))
want_openssl() {
  want openssl openssl
  [ -e /usr/include/openssl/evp.h ] || packages+=(libssl-dev)
}
case $purpose in
  bench) want_openssl ;;
  broker)
    want_openssl
    want cmake cmake
    want make make
    [ -e /usr/include/cjson/cJSON.h ] || packages+=(libcjson-dev)
    ;;
esac
if [ "$purpose" = test ] && [ -n "${CI:-}" ]; then
  want_openssl
  want java default-jre-headless
  want mvn maven
  want chromium chromium
  want chromedriver chromium-driver
  want prometheus prometheus
  # Clients that devices use.
  want mosquitto_pub mosquitto-clients
  want node nodejs
  want npm npm
  [ -e /usr/include/MQTTClient.h ] || packages+=(libpaho-mqtt-dev)
  # The Python of a broker's host, whichever runs the tests; its shared library comes with the headers.
  /usr/bin/python3 -I -c 'import ctypes, sys; ctypes.CDLL("libpython%d.%d.so.1.0" % sys.version_info[:2])' 2>/dev/null ||
    packages+=(python3 libpython3-dev)
fi

[ ${#packages[@]} -eq 0 ] && exit 0

run=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    run=(sudo -n)
  else
    echo "This machine lacks: ${packages[*]}" >&2
    echo "Install them, then run the same command again:" >&2
    echo "    sudo apt-get install ${packages[*]}" >&2
    exit 1
  fi
fi
if ! command -v apt-get >/dev/null; then
  echo "This machine lacks ${packages[*]} (Debian's names), and has no apt-get to install them with." >&2
  exit 1
fi
echo "• Debian packages: ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${run[@]}" apt-get update -qq && "${run[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get could not install: ${packages[*]}" >&2
  exit 1
fi
