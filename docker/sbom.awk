# Lines of docker/sbom.sh to CycloneDX 1.5.
function quoted(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    return "\"" text "\""
}
function depends(parent, child) {
    if (!((parent, child) in edges)) {
        edges[parent, child] = 1
        children[parent] = children[parent] (children[parent] == "" ? "" : ", ") quoted(child)
    }
}
function add(ref, name, version, more) {
    if (ref in known) return
    known[ref] = 1
    order[++num] = ref
    text[ref] = sprintf("{\"type\": \"library\", \"bom-ref\": %s, \"name\": %s, \"version\": %s, \"purl\": %s%s}", \
        quoted(ref), quoted(name), quoted(version), quoted(ref), more)
}
$1 == "lock" { checksum[$2, $3] = $4 }
$1 == "tree" {
    split($3, words, " ")
    name = words[1]; version = substr(words[2], 2)
    ref = "pkg:cargo/" name "@" version
    at[$2] = ref; named[name] = ref
    if ($2 == 0) { root = ref; root_version = version; next }
    depends(at[$2 - 1], ref)
    licence = $4; sub(/ \(\*\)$/, "", licence); gsub("/", " OR ", licence)
    more = licence == "" ? "" : ", \"licenses\": [{\"expression\": " quoted(licence) "}]"
    if ((name, version) in checksum)
        more = more ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" checksum[name, version] "\"}]"
    add(ref, name, version, more)
}
$1 == "c" {
    add($5, $2, $3, ", \"licenses\": [{\"expression\": " quoted($4) "}]")
    depends(named[$6], $5)
}
$1 == "deb" {
    ref = "pkg:deb/" $2 "/" $3 "@" $4 "?arch=" $5
    add(ref, $3, $4, "")
    depends(root, ref)
}
END {
    print "{\n  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n  \"version\": 1,"
    printf "  \"metadata\": {\"component\": {\"type\": \"application\", \"bom-ref\": %s, \"name\": \"outflow\", \"version\": %s, \"purl\": %s, \"licenses\": [{\"expression\": \"Apache-2.0\"}]}},\n", \
        quoted(root), quoted(root_version), quoted(root)
    print "  \"components\": ["
    for (i = 1; i <= num; i++) print "    " text[order[i]] (i < num ? "," : "")
    print "  ],\n  \"dependencies\": ["
    printf "    {\"ref\": %s, \"dependsOn\": [%s]}", quoted(root), children[root]
    for (i = 1; i <= num; i++) printf ",\n    {\"ref\": %s, \"dependsOn\": [%s]}", quoted(order[i]), children[order[i]]
    print "\n  ]\n}"
}
