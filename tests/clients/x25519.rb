# What Net::SSH uses of the gem x25519, by OpenSSL: that gem is not among Debian's packages.
require "openssl"

module X25519
  MontgomeryU = Struct.new(:to_bytes)

  class Scalar
    def self.generate = new(OpenSSL::PKey.generate_key("X25519"))

    def initialize(key)
      @key = key
    end

    # The last 32 bytes of the form that OpenSSL writes.
    def public_key = MontgomeryU.new(@key.public_to_der[-32..])

    def diffie_hellman(other)
      algorithm = @key.public_to_der[0..-33]
      MontgomeryU.new(@key.derive(OpenSSL::PKey.read(algorithm + other.to_bytes)))
    end
  end
end
