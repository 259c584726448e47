# A client with Net::SSH: GEMS="ed25519 x25519" ruby with_net_ssh.rb PORT KEY local|remote ECHO_PORT
# Net::SSH uses the gems ed25519 and x25519 if they are there. GEMS says which it finds.
gems = ENV.fetch("GEMS", "").split
Kernel.prepend(Module.new do
  define_method(:gem) do |name, *versions|
    raise LoadError, "no gem #{name}" if %w[ed25519 x25519].include?(name) && !gems.include?(name)
    super(name, *versions) unless name == "x25519"
  end
end)
require "net/ssh"

port, key, how, echo = ARGV
DATA = Array.new(100_000) { |at| at % 251 }.pack("C*")

options = { port: port.to_i, keys: [key], keys_only: true, config: false, verify_host_key: :never, use_agent: false, non_interactive: true }
begin
  session = Net::SSH.start("127.0.0.1", "alice", options)
  if how == "local"
    heard = +""
    at = [:string, "127.0.0.1", :long, echo.to_i, :string, "127.0.0.1", :long, 0]
    channel = session.open_channel("direct-tcpip", *at) do |open|
      open.send_data(DATA)
      open.eof!
    end
    channel.on_data { |_, piece| heard << piece }
    channel.on_open_failed { |_, code, text| abort "refused: #{code} #{text}" }
    channel.wait
    abort "#{heard.bytesize} bytes came back, not those that were sent" unless heard == DATA
  else
    # Ends with the first connection that ends.
    served = false
    session.forward.remote(echo.to_i, "127.0.0.1", 0) do |bound|
      puts "listening #{bound}"
      $stdout.flush
    end
    session.loop(0.1) do
      busy = session.channels.any?
      served ||= busy
      busy || !served
    end
  end
  session.close
rescue Net::SSH::Exception, SystemCallError => e
  abort "#{e.class}: #{e.message.lines.first}"
end
