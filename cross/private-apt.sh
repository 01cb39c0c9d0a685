# Sourced with a folder: makes apt use that, with packages of amd64 and arm64, beside the machine's own apt and dpkg.
# Undone by `unset APT_CONFIG`.
private_apt() {
    local apt="$1" suite mirror
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
    : >"$apt/state/status"
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # The mirror that this machine installs from.
    mirror=$(apt-get indextargets --format '$(SITE)' "Codename: $suite-security" | head -1)
    mirror=${mirror%/debian-security*}
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror/debian" "$suite" "$mirror/debian-security" "$suite-security" >"$apt/etc/sources.list"
    cat >"$apt/apt.conf" <<CONF
APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; };
Dir::State "$apt/state"; Dir::State::status "$apt/state/status"; Dir::Cache "$apt/cache";
Dir::Etc "$apt/etc"; Dir::Etc::sourcelist "$apt/etc/sources.list"; Dir::Etc::sourceparts "-";
APT::Sandbox::User "root"; Acquire::Languages "none";
CONF
    export APT_CONFIG="$apt/apt.conf"
    apt-get -qq update
}
private_apt "$1"
