-- Inserts Sift into the track of a session by `create_session.lua`, with automation.
--
-- arguments: session folder, session name, and any number of `parameter name=seconds:value,seconds:value,…` with values
-- from 0 to 1 of the parameter's range; each value holds until the next.

local folder, name = arg[1], arg[2]
AudioEngine:set_backend("None (Dummy)", "", "")
local session = assert(load_session(folder, name))
local rate = session:nominal_sample_rate()

local plugin = ARDOUR.LuaAPI.new_plugin(session, "Sift", ARDOUR.PluginType.VST3, "")
assert(not plugin:isnil(), "Ardour does not find the VST3 plugin Sift")
local track = session:route_by_name("Mixture")
assert(track:add_processor_by_index(plugin, 0, nil, true) == 0, "Ardour does not insert Sift")

-- The number of the parameter `label`, and its index among the controls, which LuaAPI.plugin_automation expects.
local function find(label)
  local description = plugin:to_insert():plugin(0)
  local index = 0
  for parameter = 0, description:parameter_count() - 1 do
    if description:parameter_is_control(parameter) and description:parameter_is_input(parameter) then
      if description:parameter_label(parameter) == label then return parameter, index end
      index = index + 1
    end
  end
  error("Sift has no parameter `" .. label .. "`")
end

for argument = 3, #arg do
  local label, steps = arg[argument]:match("^(.-)=(.+)$")
  local parameter, index = find(label)
  local _, list, descriptor = ARDOUR.LuaAPI.plugin_automation(plugin, index)
  list:set_interpolation(Evoral.InterpolationStyle.Discrete)
  for seconds, value in steps:gmatch("([%d.]+):([%d.]+)") do
    local plain = descriptor.lower + tonumber(value) * (descriptor.upper - descriptor.lower)
    list:add(Temporal.timepos_t(math.floor(tonumber(seconds) * rate + 0.5)), plain, false, false)
  end
  local id = Evoral.Parameter(ARDOUR.AutomationType.PluginAutomation, 0, parameter)
  plugin:to_automatable():automation_control(id, false):set_automation_state(ARDOUR.AutoState.Play)
end

session:save_state("")
close_session()
quit()
