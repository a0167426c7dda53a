# An image that contains only the command: statically linked, on an empty base.
#
#   docker build -t expressway .
#   docker run --rm -p 127.0.0.1:8083:8083 expressway
#
# Inside a container the server listens on all addresses, and any client that reaches the port may use it: publish the port
# on loopback only, as above, or mount a file of keys and give `--auth` in place of `--insecure`.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static, with the C library of the image: names are resolved from files and DNS without anything loaded at run time.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile dist --features full --target "$(uname -m)-unknown-linux-gnu" \
 && mkdir -p /image/etc/ssl/certs /image/usr/bin /image/state \
 && cp "target/$(uname -m)-unknown-linux-gnu/dist/expressway" /image/usr/bin/expressway \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && printf 'expressway:x:65532:65532::/state:/\n' > /image/etc/passwd \
 && printf 'hosts: files dns\n' > /image/etc/nsswitch.conf \
 && chown 65532:65532 /image/state

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8083
VOLUME /state
ENTRYPOINT ["/usr/bin/expressway"]
CMD ["serve", "--host", "0.0.0.0", "--insecure", "--state", "/state"]
